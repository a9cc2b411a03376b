"""The kinds of component a plugin can add. Each is a small class: a name, a summary, options, one method.

A component's ``Options`` is a pydantic model; the YAML block that names the component is validated against it, so an
unknown or mistyped option is refused with the file and the key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from easyedit_unlearn.prompting import PromptStyle
from easyedit_unlearn.types import EditRequest, ForgetSample, Observation, Scores, Target

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Engine = Literal["host", "native"]
Stage = Callable[[str, int], Callable[[int], None]]
"""Opens a progress bar: (what is running, number of items) -> advance."""


def no_progress(_what: str, _total: int) -> Callable[[int], None]:
    return lambda _done: None


class Options(BaseModel):
    """Options of a component; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class BuildContext:
    """What a target builder may use beside the samples.

    Attributes:
        seed: of every draw. model, tokenizer: the model as it is before unlearning; None where a builder that
            does not need them is called on its own. style: how questions are put to it. stage: opens progress bars.
    """

    seed: int = 0
    model: PreTrainedModel | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    style: PromptStyle = "auto"
    stage: Stage = no_progress


class Component(ABC):
    """What all kinds share.

    Attributes:
        name: how a config names it; unique within its kind.
        summary: one line for ``easyedit-unlearn list``.
        Options: the pydantic model of the options that a config may give.
    """

    name: str
    summary: str
    Options: ClassVar[type[BaseModel]] = Options


class Task(Component):
    """A source of questions with answers.

    Example::

        class Rivers(Task):
            name, summary = "rivers", "Ten questions about rivers."

            def samples(self, options):
                question = "Which river flows through Cairo?"
                return [ForgetSample(id="1", question=question, answer="Nile", subject="Cairo")]
    """

    @abstractmethod
    def samples(self, options: Any) -> Sequence[ForgetSample]:
        """All samples, in a fixed order (splits are cut from that order). Raises DataError for malformed data."""


class TargetBuilder(Component):
    """Chooses the refusal each sample is edited to. May not give away the answer it hides.

    Example::

        class Shrug(TargetBuilder):
            name, summary = "shrug", "Always 'No idea.'"

            def build(self, samples, options, context):
                return [Target(sample.id, "No idea.") for sample in samples]

    ``may_be_empty``: an empty target is meant, and stands for the end of the text at once.
    """

    may_be_empty: bool = False

    @abstractmethod
    def build(self, samples: Sequence[ForgetSample], options: Any, context: BuildContext) -> Sequence[Target]:
        """One target for each sample, in the order of ``samples``; deterministic under ``context.seed``."""


class QueryMerger(Component):
    """Turns samples and their targets into edit requests; each sample is covered by exactly one request.

    Example::

        class Pairs(QueryMerger):
            name, summary = "pairs", "Two questions become one request."

            def merge(self, samples, targets, options):
                ...
    """

    @abstractmethod
    def merge(
        self, samples: Sequence[ForgetSample], targets: Sequence[Target], options: Any
    ) -> Sequence[EditRequest]: ...


class Metric(Component):
    """A score of one observation; its mean over a group becomes the column ``{group}_{name}``.

    ``direction`` says what is wanted on the forget set: "down", "up" or "none". A metric that is undefined for an
    observation returns None, never 0.

    Example::

        class Words(Metric):
            name, summary, direction = "words", "Length of the reply in words.", "none"

            def score(self, observation):
                return float(len(observation.text.split()))
    """

    direction: Literal["up", "down", "none"]
    proportion: bool = False  # 0 or 1 per sample: a Wilson interval is given for the mean

    @abstractmethod
    def score(self, observation: Observation) -> float | None: ...


class SetMetric(Component):
    """A number about a whole evaluation, from the scores that the metrics gave its samples.

    ``direction`` says what is wanted; ``wanted`` is the value that is best, where neither end is. One that is undefined
    (a group is not there, a reference is missing) is None, never 0.

    Attributes:
        needs_reference: whether it compares with the scores of a model that never saw the forget set.

    Example::

        class Longest(SetMetric):
            name, summary, direction = "longest", "Longest reply of the forget set, in words.", "none"

            def value(self, scores, reference):
                words = scores.get("forget", {}).get("words", [])
                return max((count for count in words if count is not None), default=None)
    """

    direction: Literal["up", "down", "none"]
    wanted: float | None = None
    needs_reference: bool = False

    @abstractmethod
    def value(self, scores: Scores, reference: Scores | None) -> float | None: ...


class Method(Component):
    """An unlearning method, run through EasyEdit's ``BaseEditor`` under ``alg_name: {name}``.

    Attributes:
        engines: "host" for EasyEdit's own implementation, "native" for our ``apply``; the hparams choose one.
        batchable: whether one call may take several requests (``BaseEditor.batch_edit``).
        needs_retain: whether it refuses to run without a retain set.
        needs_subject: whether requests must name their subject (editors keyed on the subject's tokens).
        uses_targets: whether it trains on the refusals at all.

    Example: ``tests/fixture_plugin`` holds a complete method in 30 lines.
    """

    engines: tuple[Engine, ...] = ("native",)
    batchable: bool = True
    needs_retain: bool = False
    needs_subject: bool = False
    uses_targets: bool = True

    @abstractmethod
    def hparams_class(self) -> type:
        """A dataclass whose fields are the YAML keys of the native engine (may import torch; this call is late)."""

    def host_hparams_class(self) -> type:
        """The same of the host engine (imports EasyEdit). Raises HostError when it has no such editor."""
        raise NotImplementedError(f"{self.name} has no host implementation")

    def takes_batches(self, engine: Engine) -> bool:
        """Whether one call may take several requests on that engine."""
        return self.batchable

    def shares_values(self, engine: Engine) -> bool:
        """Whether a request may bring further questions for its value (``EditRequest.also``) on that engine."""
        return False

    def normalise(self, config: dict[str, Any]) -> dict[str, Any]:
        """The YAML's keys as the fields of :meth:`hparams_class`, where the two differ."""
        return config

    def system_prompt(self, samples: Sequence[ForgetSample], targets: Sequence[Target], hparams: Any) -> str | None:
        """What the unlearned model is told before every question, for a method that acts by its prompt."""
        return None

    def parameters(self, model: PreTrainedModel, hparams: Any) -> Iterable[str]:
        """Names of the parameters this method may change: they are copied first, and put back on any failure."""
        return [name for name, _ in model.named_parameters()]

    def apply(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        requests: Sequence[Mapping[str, Any]],
        hparams: Any,
        *,
        retain: Sequence[tuple[str, str]],
        stage: Stage,
    ) -> None:
        """Change ``model`` in place, only in :meth:`parameters`; on an exception the caller puts them back.

        ``requests`` are EasyEdit's: ``prompt``, ``target_new``, ``ground_truth`` and more, prompts already in the
        prompt style. ``retain`` holds (prompt, answer) pairs in the same style. ``stage(what, total)`` opens a
        progress bar and returns the function that advances it.
        """
        raise NotImplementedError(f"{self.name} runs in EasyEdit, not here")
