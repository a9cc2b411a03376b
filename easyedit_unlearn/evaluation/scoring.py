"""From a model and its sets to scored observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

from easyedit_unlearn.components import Metric, Progress, no_progress
from easyedit_unlearn.evaluation.observe import DEFAULT_GENERATION, GenerationConfig, Observed, observe, prompts_of
from easyedit_unlearn.evaluation.questions import published_answers, questions_of
from easyedit_unlearn.evaluation.stored import Stored
from easyedit_unlearn.types import Evaluation, Scored, Selection

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    selection: Selection,
    metrics: Iterable[Metric],
    generation: GenerationConfig = DEFAULT_GENERATION,
    *,
    progress: Progress = no_progress,
    replies: Mapping[str, str] | None = None,
    stored: Stored | None = None,
) -> Evaluation:
    """Ask everything once (see ``observe``) and score it with every metric; ``stored`` is where an untouched model's
    earlier evaluations are."""

    def make() -> Observed:
        return observe(model, tokenizer, selection, generation, progress=progress, replies=replies)

    seen = (
        make() if stored is None else stored.get(Observed, _asked(tokenizer, selection, generation), generation, make)
    )
    chosen = list(metrics)
    asked = zip(seen.observations, questions_of(selection), strict=True)
    observations = [replace(one, sample=sample) for one, (_, sample, _) in asked]  # JSON knows no tuples
    scored = [Scored(one, {metric.name: metric.score(one) for metric in chosen}) for one in observations]
    return Evaluation(scored, seen.perplexity)


def by_question(evaluation: Evaluation) -> Mapping[tuple[str, str], Scored]:
    """Scored prompts by (group, prompt), to set before beside after."""
    return {(s.observation.group, s.observation.prompt): s for s in evaluation.scored}


def _asked(tokenizer: PreTrainedTokenizerBase, selection: Selection, generation: GenerationConfig) -> list[str]:
    """Everything that decides what is seen, and every field of a sample that a metric may read."""
    rows = zip(prompts_of(tokenizer, selection, generation), questions_of(selection), strict=True)
    return [
        text
        for prompt, (group, sample, _) in rows
        for text in (group, prompt, *published_answers(sample), repr(astuple(sample)))
    ]
