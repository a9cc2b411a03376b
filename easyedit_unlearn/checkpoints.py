"""Every number about a model as it stands, whoever made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from easyedit_unlearn.components import Stage, no_progress
from easyedit_unlearn.errors import ConfigError
from easyedit_unlearn.evaluation.probes import Probing
from easyedit_unlearn.pipeline import Run
from easyedit_unlearn.plugins import Plugins, default_plugins
from easyedit_unlearn.prompting import PromptStyle
from easyedit_unlearn.rows import Results
from easyedit_unlearn.tasks.splits import Source, parse_source

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from easyedit_unlearn.models import Pair


_GROUPS = ("forget", "rephrase", "retain", "holdout")


@dataclass(frozen=True)
class Asked:
    """What a model is asked, and how.

    Attributes:
        forget, retain, holdout: as the command line names sets: a task with its options and split, or a file.
        also: further groups by name, such as ``world_facts``. prompt: how questions are put.
        as_reference: where to write this model's scores. retain_log: the scores of a model that never saw the forget
            set. attacks, depth: see ``evaluation.probes``. gradnorm: also measure gradients on forget and holdout, a
            backward pass each. remember: keep what the model says on disk, and read it there the next time.
    """

    forget: str
    retain: str | None = None
    holdout: str | None = None
    also: Mapping[str, str] = field(default_factory=dict)
    prompt: PromptStyle = "auto"
    max_new_tokens: int = 48
    as_reference: Path | None = None
    retain_log: Path | None = None
    attacks: bool = False
    depth: bool = False
    gradnorm: bool = False
    remember: bool = False

    def __post_init__(self) -> None:
        if self.as_reference is not None and self.as_reference == self.retain_log:
            raise ConfigError("a model is not its own reference", key="retain_log", value=str(self.retain_log))
        _check_names(self.also)

    def run(self, model: Pair, label: str, plugins: Plugins, stage: Stage) -> Run:
        return Run(
            model, label, style=self.prompt, max_new_tokens=self.max_new_tokens, gradnorm=self.gradnorm,
            remember=self.remember, plugins=plugins, stage=stage, retain_log=self.retain_log,
            probing=Probing(self.attacks, self.depth),
        )  # fmt: skip

    def sources(self, plugins: Plugins) -> dict[str, Source]:
        """By group; forget first. Raises UnknownNameError or ConfigError for what cannot be read."""
        named = {"forget": self.forget, "retain": self.retain, "holdout": self.holdout}
        found = {name: parse_source(text, plugins.tasks) for name, text in named.items() if text}
        return found | further_groups(self.also, plugins)

    def select(self, run: Run, plugins: Plugins) -> None:
        """Cut the sets. A reference need know nothing of the forget set."""
        others = self.sources(plugins)
        forget, blank = others.pop("forget"), self.as_reference is not None
        retain, holdout = others.pop("retain", None), others.pop("holdout", None)
        run.select(forget, retain, holdout, others=others, may_know_nothing=blank)


def further_groups(named: Mapping[str, str], plugins: Plugins) -> dict[str, Source]:
    """Groups that are only evaluated, by name. Raises ConfigError for a name that is taken or is none."""
    _check_names(named)
    return {name: parse_source(text, plugins.tasks) for name, text in named.items()}


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name in _GROUPS or not name.isidentifier():
            raise ConfigError(
                f"names a further group in letters, digits and _, not {', '.join(_GROUPS)}", key="also", value=name
            )


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Asked | str,
    *,
    known: Mapping[str, bool] | None = None,
    replies: Mapping[str, str] | None = None,
    system_prompt: str | None = None,
    label: str | None = None,
    plugins: Plugins | None = None,
    stage: Stage = no_progress,
) -> Results:
    """Every metric of the registry on every group, the model being left as it is::

        results = evaluate(model, tokenizer, "factual:forget20")
        results.rows[0]["means"]["answer_prob"]["forget"]  # mean, n, 95 % interval

    Args:
        asked: the sets and how they are asked; a text is the forget set alone.
        known: which facts (``ForgetSample.key``) were known before it was unlearned; the others are asked of it now.
        replies: what it said then, by question: two of the attacks begin with it.
        system_prompt: said before every question (what an ICR run leaves beside its checkpoint).
        label: what the row calls the model; by default its name or path.

    Raises:
        DataError: a set cannot be read, sets overlap, the model knows nothing of the forget set, or the reference log
            is of other questions. UnknownNameError: no such task.
    """
    asked = Asked(asked) if isinstance(asked, str) else asked
    plugins = plugins or default_plugins()
    run = asked.run((model, tokenizer), label or str(model.name_or_path or "model"), plugins, stage)
    run.recall(known or {}, replies)
    asked.select(run, plugins)
    run.system_prompt = system_prompt
    run.evaluate_only(asked.as_reference)
    run.results.status = "complete"
    return run.results
