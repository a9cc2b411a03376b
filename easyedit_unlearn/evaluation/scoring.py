"""From a model and its sets to scored observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, replace

from easyedit_unlearn.components import Metric, Progress, no_progress
from easyedit_unlearn.evaluation.observe import DEFAULT_GENERATION, GenerationConfig, Observations, observe, prompts_of
from easyedit_unlearn.evaluation.questions import published_answers, questions_of
from easyedit_unlearn.evaluation.stored import Stored
from easyedit_unlearn.types import Evaluation, PreTrainedModel, PreTrainedTokenizerBase, Scored, Selection


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

    def make() -> Observations:
        return observe(model, tokenizer, selection, generation, progress=progress, replies=replies)

    decides = _asked(tokenizer, selection, generation) if stored else []
    seen = stored.get(Observations, decides, generation, make) if stored else make()
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
    texts = [(group, prompt, *published_answers(one), repr(astuple(one))) for prompt, (group, one, _) in rows]
    return [text for row in texts for text in row]
