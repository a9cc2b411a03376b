"""The kinds of component a plugin can add. Each is a small class: a name, a summary, options, one method.

A component's ``Options`` is a pydantic model; the YAML block that names the component is validated against it, so an
unknown or mistyped option is refused with the file and the key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from easyedit_unlearn.types import (
    Column,
    Direction,
    EditRequest,
    ForgetSample,
    Format,
    Observation,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PromptStyle,
    Scores,
    Target,
)

Engine = Literal["host", "native"]
Progress = Callable[[str, int], Callable[[int], None]]
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
            does not need them is called on its own. style: how questions are put to it. progress: opens bars.
    """

    seed: int = 0
    model: PreTrainedModel | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    style: PromptStyle = "auto"
    progress: Progress = no_progress

    @property
    def stage(self) -> Progress:
        """``progress``, as target builders called it first."""
        return self.progress


class Component(ABC):
    """What all kinds share.

    Attributes:
        name: how a config names it; unique within its kind.
        summary: one line for ``easyedit-unlearn list``.
        Options: the pydantic model of the options that a config may give.
    """

    name: str
    summary: str = ""
    Options: ClassVar[type[BaseModel]] = Options


@dataclass(frozen=True)
class Lazy:
    """A component that is known by name and imported when it is first used; a hook may return these too.

    Attributes:
        target: ``module:name`` of its class, or of what makes it. argument: what that is called with, if anything.
    """

    name: str
    summary: str
    target: str
    argument: str | None = None

    def load(self) -> Any:
        module, _, name = self.target.partition(":")
        component = getattr(import_module(module), name)(*([] if self.argument is None else [self.argument]))
        component.name, component.summary = self.name, component.summary or self.summary
        return component


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

    ``may_be_empty``: an empty target is meant, and stands for the end of the text at once. ``needs_subject``: samples
    without a subject get the one that is found by cause.
    """

    may_be_empty: bool = False
    needs_subject: bool = False

    @abstractmethod
    def build(self, samples: Sequence[ForgetSample], options: Any, context: BuildContext) -> Sequence[Target]:
        """One target for each sample, in the order of ``samples``; deterministic under ``context.seed``."""

    def build_groups(
        self, groups: Sequence[Sequence[ForgetSample]], options: Any, context: BuildContext
    ) -> Sequence[Target]:
        """The same for samples that are merged: those of a group share one refusal. By default what ``build`` gives
        each, which is one for all of them where it does not depend on the sample."""
        return self.build([sample for group in groups for sample in group], options, context)


class QueryMerger(Component):
    """Turns samples and their targets into edit requests; each sample is covered by exactly one request. ``groups``
    comes first, for refusals may be written for a group.

    Example::

        class Pairs(QueryMerger):
            name, summary = "pairs", "Two questions become one request."

            def merge(self, samples, targets, options):
                ...

    ``needs_subject``: samples without a subject get the one that is found by cause.
    """

    needs_subject: bool = False

    def groups(self, samples: Sequence[ForgetSample], options: Any) -> Sequence[Sequence[ForgetSample]]:
        """Which samples will share a request, each sample once."""
        return [[sample] for sample in samples]

    @abstractmethod
    def merge(
        self, samples: Sequence[ForgetSample], targets: Sequence[Target], options: Any
    ) -> Sequence[EditRequest]: ...


class Metric(Component):
    """A score of one observation; its mean over a group is the number ``{group}_{name}`` of a row.

    A metric that is undefined for an observation returns None, never 0.

    Attributes:
        direction: what is wanted on the forget set: "down", "up" or "none".
        proportion: 0 or 1 per sample: a Wilson interval is given for the mean.
        format: how a mean is written in the table; by default a share of prompts where it is a proportion.
        groups: the groups for which the table has a column.
        of_reply: True if it reads nothing but the question, the reply and the sample: ``rejudge`` computes it anew.

    Example::

        class Words(Metric):
            name, summary, direction = "words", "Length of the reply in words.", "none"

            def score(self, observation):
                return float(len(observation.text.split()))
    """

    direction: Direction
    proportion: bool = False
    format: Format | None = None
    groups: tuple[str, ...] = ("forget",)
    of_reply: bool = False

    @abstractmethod
    def score(self, observation: Observation) -> float | None: ...

    def column(self, group: str) -> Column:
        """Its column for one of ``groups``. What is wanted where a fact must stay is the opposite of what is wanted
        where it must go."""
        kept = group not in ("forget", "rephrase")
        direction = _OPPOSITE[self.direction] if kept else self.direction
        written = self.format or ("share" if self.proportion else "number")
        return Column(f"{group}_{self.name}", f"{group}: {self.name}", self.summary, written, direction)


_OPPOSITE: Mapping[Direction, Direction] = {"up": "down", "down": "up", "none": "none"}


class SetMetric(Component):
    """A number about a whole evaluation, from the scores that the metrics gave its samples.

    ``direction`` says what is wanted; ``wanted`` is the value that is best, where neither end is. One that is undefined
    (a group is not there, a reference is missing) is None, never 0.

    Attributes:
        needs_reference: True if it compares with the scores of a model that never saw the forget set.

    Example::

        class Longest(SetMetric):
            name, summary, direction = "longest", "Longest reply of the forget set, in words.", "none"

            def value(self, scores, reference):
                words = scores.get("forget", {}).get("words", [])
                return max((count for count in words if count is not None), default=None)
    """

    direction: Direction
    wanted: float | None = None
    needs_reference: bool = False

    @abstractmethod
    def value(self, scores: Scores, reference: Scores | None) -> float | None: ...


@dataclass
class Job:
    """What a method is given to do.

    Attributes:
        model: changed in place, only in what ``Method.parameters`` names.
        requests: EasyEdit's: ``prompt``, ``target_new``, ``ground_truth`` and more, in the prompt style; ``also``:
            further prompts and subjects that share the value; ``answers``: what counts as the answer.
        hparams: an instance of the method's own hparams class, with the ``unlearn`` block.
        retain: (prompt, answer) pairs in the same style.
        progress: opens a progress bar: ``advance = progress("training", 40); advance(1)``.
        state: what a sequence of edits on one editor must remember; emptied when they are undone.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    requests: Sequence[Mapping[str, Any]]
    hparams: Any
    retain: Sequence[tuple[str, str]] = ()
    progress: Progress = no_progress
    state: dict[str, Any] = field(default_factory=dict)


class Method(Component):
    """An unlearning method, run through EasyEdit's ``BaseEditor`` under ``alg_name: {name}``. It is what runs: one of
    ours, or an editor of EasyEdit's (``host.editors.HostEditor``).

    Attributes:
        HyperParams: a dataclass whose fields are the YAML keys.
        engine: "host" for EasyEdit's own implementation, "native" for ``apply``.
        host_first: True if EasyEdit's editor of this name runs in its place, where it has one and no engine is named.
        batchable: True if one call may take several requests (``BaseEditor.batch_edit``).
        shares_values: True if a request may bring further questions for its value (``EditRequest.also``).
        needs_retain: True if it refuses to run without a retain set.
        reads_retain: True if it makes use of a retain set at all.
        needs_subject: True if requests must name their subject (editors keyed on the subject's tokens).
        uses_targets: True if it trains on the refusals at all.

    Example: ``tests/fixture_plugin`` holds a complete method in 30 lines.
    """

    HyperParams: ClassVar[type]
    engine: Engine = "native"
    host_first: bool = False
    batchable: bool = True
    shares_values: bool = False
    needs_retain: bool = False
    reads_retain: bool = True
    needs_subject: bool = False
    uses_targets: bool = True

    def hparams_class(self) -> type:
        """A dataclass whose fields are the YAML keys. Raises HostError where EasyEdit cannot run the method."""
        return self.HyperParams

    def normalise(self, config: dict[str, Any]) -> dict[str, Any]:
        """The YAML's keys as the fields of :meth:`hparams_class`, where the two differ."""
        return config

    def complete(self, hparams: Any) -> None:
        """Add to hparams that were read what the file does not hold itself; called when an editor is made."""

    def system_prompt(self, samples: Sequence[ForgetSample], targets: Sequence[Target], hparams: Any) -> str | None:
        """What the unlearned model is told before every question, for a method that acts by its prompt."""
        return None

    def needs_text(self, hparams: Any) -> bool:
        """True if it cannot do without plain text (``unlearn.native.corpus``), or the retain set in its place."""
        return False

    def keys_of(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, requests: Sequence[Mapping[str, Any]],
        hparams: Any,
    ) -> Any:  # fmt: skip
        """The key at which each request would be edited, (d_key, requests); None for a method that has none."""
        return None

    def departures(self, hparams: Any) -> Sequence[str]:
        """What of the published method these settings do otherwise, in a word each: every table's label names them, so
        that ``NPO (fact, rounds)`` is not taken for NPO."""
        return ()

    def parameters(self, model: PreTrainedModel, hparams: Any) -> Iterable[str]:
        """Names of the parameters this method may change: they are copied first, and put back on any failure."""
        return [name for name, _ in model.named_parameters()]

    def check(self, model: PreTrainedModel, hparams: Any) -> None:
        """Raise UnlearnError where the method cannot act on this model; asked before any work is done."""

    def apply(self, job: Job) -> None:
        """Change ``job.model`` in place, only in :meth:`parameters`; on an exception the caller puts them back."""
        raise NotImplementedError(f"{self.name} runs in EasyEdit, not here")
