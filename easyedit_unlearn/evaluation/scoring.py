"""From a model and its sets to scored observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, replace

from easyedit_unlearn.components import Metric, Progress, no_progress
from easyedit_unlearn.evaluation.observe import DEFAULT_GENERATION, GenerationConfig, Observations, observe, prompts_of
from easyedit_unlearn.evaluation.questions import published_answers, questions_of
from easyedit_unlearn.evaluation.stored import Stored
from easyedit_unlearn.types import (
    Evaluation,
    Observation,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Scored,
    Selection,
    Target,
)


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
    targets: Iterable[Target] = (),
) -> Evaluation:
    """Ask everything once (see ``observe``) and score it with every metric; ``stored`` is where an untouched model's
    earlier evaluations are, ``targets`` what a method was to make the model say."""

    def make() -> Observations:
        return observe(model, tokenizer, selection, generation, progress=progress, replies=replies)

    decides = _asked(tokenizer, selection, generation) if stored else []
    seen = stored.get(Observations, decides, generation, make) if stored else make()
    chosen = list(metrics)
    asked = zip(seen.observations, questions_of(selection), strict=True)
    given: dict[str, tuple[str, ...]] = {}
    for target in targets:
        given[target.sample_id] = (*given.get(target.sample_id, ()), target.text)
    observations = [  # JSON knows no tuples
        replace(one, sample=sample, targets=given.get(sample.id, ())) for one, (_, sample, _) in asked
    ]
    return Evaluation([scored_by(chosen, one) for one in observations], seen.perplexity)


def scored_by(metrics: Iterable[Metric], observation: Observation) -> Scored:
    """A plain text is not asked for: what reads a reply is undefined there."""
    text = observation.sample.is_text
    return Scored(observation, {one.name: None if text and one.of_reply else one.score(observation) for one in metrics})


def by_question(evaluation: Evaluation) -> Mapping[tuple[str, str], Scored]:
    """Scored prompts by (group, prompt), to set before beside after; plain texts by themselves."""
    return {(s.observation.group, s.observation.prompt or s.observation.sample.answer): s for s in evaluation.scored}


def _asked(tokenizer: PreTrainedTokenizerBase, selection: Selection, generation: GenerationConfig) -> list[str]:
    """Everything that decides what is seen, and every field of a sample that a metric may read."""
    rows = zip(prompts_of(tokenizer, selection, generation), questions_of(selection), strict=True)
    texts = [(group, prompt, *published_answers(one), repr(astuple(one))) for prompt, (group, one, _) in rows]
    return [text for row in texts for text in row]
