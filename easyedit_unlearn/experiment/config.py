"""What a model is asked in an experiment, and how: the one set-up that every door goes through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.errors import ConfigError, UnlearnError
from easyedit_unlearn.evaluation.observe import GenerationConfig
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.tasks.splits import Source, parse_source
from easyedit_unlearn.types import PromptStyle

_GROUPS = ("forget", "rephrase", "retain", "holdout")


@dataclass(frozen=True)
class EvalConfig:
    """What a model is asked, and how.

    Attributes:
        forget, retain, holdout: as the command line names sets (a task with its options and split, or a file), or as a
            source; ``forget`` is None while its questions are not written yet. also: further groups by name, such as
            ``world_facts``.
        prompt: how questions are put. max_new_tokens: of a reply.
        as_reference: where to write this model's scores. retain_log: the scores of a model that never saw the forget
            set. attacks, depth: see ``evaluation.probes``. gradnorm: also measure gradients on forget and holdout, a
            backward pass each.
        score_end: the end of an answer counts as a token of it, as TOFU and open-unlearning have it (probability, truth
            ratio, membership by loss and zlib).
        lm_eval: tasks of lm-evaluation-harness, by name or file. lm_eval_limit: documents of each.
        remember: keep what the model says on disk, and read it there the next time.
    """

    forget: str | Source | None
    retain: str | Source | None = None
    holdout: str | Source | None = None
    also: Mapping[str, str | Source] = field(default_factory=dict)
    prompt: PromptStyle = "auto"
    max_new_tokens: int = 48
    as_reference: Path | None = None
    retain_log: Path | None = None
    attacks: bool = False
    depth: bool = False
    gradnorm: bool = False
    score_end: bool = True
    lm_eval: Sequence[str] = ()
    lm_eval_limit: int | None = None
    remember: bool = False

    def __post_init__(self) -> None:
        if self.as_reference is not None and self.as_reference == self.retain_log:
            raise ConfigError("a model is not its own reference", key="retain_log", value=str(self.retain_log))
        _check_names(self.also)

    @classmethod
    def for_methods(
        cls,
        methods: Sequence[UnlearnHyperParams],
        forget: str | Source | None,
        retain: str | Source | None = None,
        **how: Any,
    ) -> EvalConfig:
        """To run methods: asked as the first one's hparams say; a retain set that is not named is the hparams' own.

        Raises:
            UnlearnError: a method needs retain data, and there is none.
        """
        retain = retain or next((one.unlearn.retain for one in methods if one.unlearn.retain), None)
        lacking = [one.alg_name for one in methods if one.method.needs_retain and retain is None]
        if lacking:
            raise UnlearnError(f"{', '.join(lacking)} needs retain data: add --retain TASK[:SPLIT]|FILE")
        settings = methods[0].unlearn
        asked = {"prompt": settings.prompt, "max_new_tokens": settings.max_new_tokens, "remember": True}
        return cls(forget, retain, **{**asked, **how})

    @property
    def generation(self) -> GenerationConfig:
        return GenerationConfig(self.prompt, None, self.max_new_tokens, self.gradnorm, self.score_end)

    def sources(self, plugins: Plugins) -> dict[str, Source]:
        """By group; forget first. Raises UnknownNameError or ConfigError for what cannot be read."""
        named = {"forget": self.forget, "retain": self.retain, "holdout": self.holdout, **self.also}
        return {
            name: parse_source(given, plugins.tasks) if isinstance(given, str) else given
            for name, given in named.items()
            if given
        }


def _check_names(names: Iterable[str]) -> None:
    """Of further groups, which are only evaluated."""
    for name in names:
        if name in _GROUPS or not name.isidentifier():
            raise ConfigError(
                f"names a further group in letters, digits and _, not {', '.join(_GROUPS)}", key="also", value=name
            )
