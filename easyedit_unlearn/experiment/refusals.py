"""The refusals of an experiment's forget set, each kind built once, on the untouched model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from easyedit_unlearn.components import Progress
from easyedit_unlearn.config.settings import UnlearnSettings
from easyedit_unlearn.evaluation.judging.thoughts import answer_of
from easyedit_unlearn.evaluation.refusal_quality import refusal_quality, summary
from easyedit_unlearn.experiment.requests import build_targets
from easyedit_unlearn.types import Evaluation, ForgetSample, ModelPair, Target


class Refusals:
    """By target builder, options and seed; building them is not timed with the edit."""

    def __init__(self, model: ModelPair, progress: Progress) -> None:
        self._model, self._progress = model, progress
        self._built: dict[str, list[Target]] = {}
        self._quality: dict[str, dict[str, Any]] = {}

    def clear(self) -> None:
        """The forget set is another one."""
        self._built.clear()

    def of(self, samples: Sequence[ForgetSample], settings: UnlearnSettings) -> list[Target]:
        subjects = [sample.subject for sample in samples]
        merged = settings.merger.name, settings.merger_options
        key = repr((settings.builder.name, settings.builder_options, settings.seed, settings.prompt, subjects, merged))
        if key not in self._built:
            self._built[key] = build_targets(samples, settings, *self._model, self._progress)
        return self._built[key]

    def replies(self, evaluation: Evaluation, samples: Sequence[ForgetSample] = ()) -> dict[str, Any] | None:
        """The same of what a model says to the forget set's questions; where perplexity is to be the untouched model's,
        it must be there again. ``samples``: the forget set as its data have it, without subjects found since."""
        asked = [scored.observation for scored in evaluation.scored if scored.observation.group == "forget"]
        asked = [seen for seen in asked if not seen.sample.is_text]
        said = [Target(seen.sample.id, answer_of(seen.text), "model") for seen in asked]
        given = {sample.id: sample for sample in samples}
        facts = [given.get(seen.sample.id, seen.sample) for seen in asked]
        return summary(refusal_quality(facts, said, *self._model)) if asked else None

    def quality(self, samples: Sequence[ForgetSample], targets: Sequence[Target]) -> dict[str, Any]:
        """Their perplexity is the untouched model's."""
        key = repr(targets)
        if key not in self._quality:
            self._quality[key] = summary(refusal_quality(samples, targets, *self._model))
        return self._quality[key]
