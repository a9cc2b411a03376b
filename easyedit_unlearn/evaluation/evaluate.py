"""From a model and its sets to scored observations, and from those to the columns of a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.components import Metric, Stage, no_progress
from easyedit_unlearn.evaluation.formulas import loss_score
from easyedit_unlearn.prompting import PromptStyle, format_prompt
from easyedit_unlearn.text import gives_answer, is_refusal
from easyedit_unlearn.types import Evaluation, ForgetSample, Observation, Scored, Selection

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    selection: Selection,
    metrics: Iterable[Metric],
    *,
    style: PromptStyle = "auto",
    system: str | None = None,
    max_new_tokens: int = 48,
    stage: Stage = no_progress,
) -> Evaluation:
    """Ask every question and rephrase once, greedily, after ``system`` if there is one, and score the replies with
    every metric."""
    from easyedit_unlearn.evaluation import inference

    questions = _questions(selection)
    prompts = [format_prompt(tokenizer, question, style, system=system) for _, _, question in questions]
    replies = inference.generate_replies(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, progress=stage("answering", len(prompts))
    )
    answers = [published_answers(sample) for _, sample, _ in questions]
    pairs = list(dict.fromkeys((p, text) for p, texts in zip(prompts, answers, strict=True) for text in texts))
    advance = stage("answer probabilities", len(pairs))
    forced = dict(zip(pairs, inference.answer_tokens(model, tokenizer, pairs, progress=advance), strict=True))
    chosen, scored = list(metrics), []
    for (group, sample, question), prompt, text, texts in zip(questions, prompts, replies, answers, strict=True):
        first, correct, *wrong = (forced[prompt, answer] for answer in texts)
        observation = Observation(
            sample, group, question, text, loss_score(first), first, loss_score(correct),
            tuple(mean for tokens in wrong if (mean := loss_score(tokens)) is not None),
        )  # fmt: skip
        scored.append(Scored(observation, {metric.name: metric.score(observation) for metric in chosen}))
    return Evaluation(scored, inference.perplexity(model, tokenizer, inference.plain_text()))


def published_answers(sample: ForgetSample) -> list[str]:
    """The answer, the paraphrased answer or else the answer again, and the wrong ones, as TOFU publishes them."""
    paraphrased, perturbed = (sample.extras.get(key) for key in ("paraphrased_answer", "perturbed_answer"))
    correct = paraphrased if isinstance(paraphrased, str) and paraphrased.strip() else sample.answer
    wrong = perturbed if isinstance(perturbed, list) else []
    return [sample.answer, correct, *(text for text in wrong if isinstance(text, str) and text.strip())]


def ask_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[ForgetSample],
    *,
    style: PromptStyle = "auto",
    max_new_tokens: int = 48,
    stage: Stage = no_progress,
    what: str = "checking what the model knows",
) -> list[str]:
    """The model's greedy reply to every question."""
    from easyedit_unlearn.evaluation import inference

    prompts = [format_prompt(tokenizer, sample.question, style) for sample in samples]
    return inference.generate_replies(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, progress=stage(what, len(prompts))
    )


def knows(sample: ForgetSample, reply: str) -> bool:
    """A fact counts as known when the reply gives the answer and does not refuse."""
    return gives_answer(reply, sample.question, sample.answers) and not is_refusal(reply)


def summarise(evaluation: Evaluation, metrics: Iterable[Metric], known: frozenset[str]) -> dict[str, Any]:
    """Columns ``{group}_{metric}``, counts ``n_{group}`` and Wilson 95 % ``intervals``, over known facts only.

    A column without any defined score is None, never 0.
    """
    row: dict[str, Any] = {}
    intervals: dict[str, list[float]] = {}
    for group in ("forget", "rephrase", "retain", "holdout"):
        members = [s for s in evaluation.scored if s.observation.group == group and s.observation.sample.key in known]
        row[f"n_prompts_{group}"] = len(members)
        for metric in metrics:
            values = [value for s in members if (value := s.scores[metric.name]) is not None]
            row[f"{group}_{metric.name}"] = fmean(values) if values else None
            if metric.proportion and values:
                intervals[f"{group}_{metric.name}"] = wilson(round(sum(values)), len(values))
    return row | {"intervals": intervals}


def wilson(successes: int, trials: int) -> list[float]:
    """The 95 % Wilson score interval of a proportion."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def by_question(evaluation: Evaluation) -> Mapping[tuple[str, str], Scored]:
    """Scored prompts by (group, prompt), to set before beside after."""
    return {(s.observation.group, s.observation.prompt): s for s in evaluation.scored}


def _questions(selection: Selection) -> list[tuple[str, ForgetSample, str]]:
    rows = [(group, sample, sample.question) for group, samples in selection.groups().items() for sample in samples]
    rephrases = [("rephrase", sample, text) for sample in selection.forget for text in sample.rephrases]
    return rows + rephrases
