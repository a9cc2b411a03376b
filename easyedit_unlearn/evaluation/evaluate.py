"""From a model and its sets to scored observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

from easyedit_unlearn.components import Metric, Stage, no_progress
from easyedit_unlearn.evaluation.observe import PLAINLY, Manner, Observed, observe, prompts_of, reply_to
from easyedit_unlearn.evaluation.questions import published_answers, questions_of
from easyedit_unlearn.evaluation.stored import Stored
from easyedit_unlearn.prompting import PromptStyle, format_prompt
from easyedit_unlearn.text import gives_answer, is_refusal
from easyedit_unlearn.types import Evaluation, ForgetSample, Scored, Selection

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    selection: Selection,
    metrics: Iterable[Metric],
    manner: Manner = PLAINLY,
    *,
    stage: Stage = no_progress,
    replies: Mapping[str, str] | None = None,
    stored: Stored | None = None,
) -> Evaluation:
    """Ask everything once (see ``observe``) and score it with every metric; ``stored`` is where an untouched model's
    earlier evaluations are."""

    def make() -> Observed:
        return observe(model, tokenizer, selection, manner, stage=stage, replies=replies)

    seen = make() if stored is None else stored.get(Observed, _asked(tokenizer, selection, manner), manner, make)
    chosen = list(metrics)
    asked = zip(seen.observations, questions_of(selection), strict=True)
    observations = [replace(one, sample=sample) for one, (_, sample, _) in asked]  # JSON knows no tuples
    scored = [Scored(one, {metric.name: metric.score(one) for metric in chosen}) for one in observations]
    return Evaluation(scored, seen.perplexity)


def ask_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[ForgetSample],
    *,
    style: PromptStyle = "auto",
    max_new_tokens: int = 48,
    stage: Stage = no_progress,
    what: str = "checking what the model knows",
    stored: Stored | None = None,
) -> list[str]:
    """The model's greedy reply to every question."""
    prompts = [format_prompt(tokenizer, sample.question, style) for sample in samples]

    def make() -> list[str]:
        return reply_to(model, tokenizer, prompts, max_new_tokens, stage, what)

    return make() if stored is None else stored.get(list[str], prompts, max_new_tokens, make)


def knows(sample: ForgetSample, reply: str) -> bool:
    """A fact counts as known when the reply gives the answer and does not refuse."""
    return gives_answer(reply, sample.question, sample.answers) and not is_refusal(reply)


def by_question(evaluation: Evaluation) -> Mapping[tuple[str, str], Scored]:
    """Scored prompts by (group, prompt), to set before beside after."""
    return {(s.observation.group, s.observation.prompt): s for s in evaluation.scored}


def _asked(tokenizer: PreTrainedTokenizerBase, selection: Selection, manner: Manner) -> list[str]:
    """Everything that decides what is seen, and every field of a sample that a metric may read."""
    rows = zip(prompts_of(tokenizer, selection, manner), questions_of(selection), strict=True)
    return [
        text
        for prompt, (group, sample, _) in rows
        for text in (group, prompt, *published_answers(sample), repr(astuple(sample)))
    ]
