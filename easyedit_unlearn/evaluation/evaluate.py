"""From a model and its sets to scored observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from easyedit_unlearn.components import Metric, Stage, no_progress
from easyedit_unlearn.evaluation.formulas import loss_score
from easyedit_unlearn.evaluation.processes import shared_out
from easyedit_unlearn.prompting import PromptStyle, format_prompt
from easyedit_unlearn.text import gives_answer, is_refusal
from easyedit_unlearn.types import AnswerTokens, Evaluation, ForgetSample, Observation, Scored, Selection

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
    replies: Mapping[str, str] | None = None,
) -> Evaluation:
    """Ask every question and rephrase once, greedily, after ``system`` if there is one, and score the replies with
    every metric. ``replies``: what this model is known to say to some of the questions, which are not asked again."""
    from easyedit_unlearn.evaluation import inference

    questions, replies = _questions(selection), replies or {}
    prompts = [format_prompt(tokenizer, question, style, system=system) for _, _, question in questions]
    said = {prompt: replies[q] for prompt, (_, _, q) in zip(prompts, questions, strict=True) if q in replies}
    new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in said]
    said |= dict(zip(new, _replies(model, tokenizer, new, max_new_tokens, stage, "answering"), strict=True))
    answers = [
        # the published answers belong to the published question
        (prompt, [sample.answer, sample.answer] if group == "rephrase" else published_answers(sample))
        for prompt, (group, sample, _) in zip(prompts, questions, strict=True)
    ]
    forced = _forced(model, tokenizer, answers, stage)
    chosen, scored = list(metrics), []
    for (group, sample, question), (prompt, texts) in zip(questions, answers, strict=True):
        tokens = [forced[prompt, text] for text in texts]
        observation = _observed(sample, group, question, said[prompt], tokens)
        scored.append(Scored(observation, {metric.name: metric.score(observation) for metric in chosen}))
    return Evaluation(scored, inference.perplexity(model, tokenizer, inference.plain_text()))


def _observed(
    sample: ForgetSample, group: str, question: str, reply: str, tokens: Sequence[AnswerTokens | None]
) -> Observation:
    """``tokens`` are of :func:`published_answers`, in their order."""
    own, correct, *wrong = tokens
    logprobs = tuple(logprob for one in wrong if (logprob := loss_score(one)) is not None)
    return Observation(sample, group, question, reply, loss_score(own), own, loss_score(correct), logprobs)


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
    prompts = [format_prompt(tokenizer, sample.question, style) for sample in samples]
    return _replies(model, tokenizer, prompts, max_new_tokens, stage, what)


def _replies(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_new_tokens: int,
    stage: Stage, what: str,
) -> list[str]:  # fmt: skip
    from easyedit_unlearn.evaluation.inference import generate_replies

    def ask(share: Sequence[str]) -> list[str]:
        advance = stage(what, len(share)) if share else None
        return generate_replies(model, tokenizer, share, max_new_tokens=max_new_tokens, progress=advance)

    return shared_out(prompts, ask)


Pair = tuple[str, str]


def _forced(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, answers: Iterable[tuple[str, Sequence[str]]],
    stage: Stage,
) -> dict[Pair, AnswerTokens | None]:  # fmt: skip
    """By (prompt, answer). The answers to one prompt stay together: it is run once for them."""
    from easyedit_unlearn.evaluation.forced import answer_tokens

    wanted: dict[str, dict[str, None]] = {}
    for prompt, texts in answers:
        wanted.setdefault(prompt, {}).update(dict.fromkeys(texts))

    def read(share: Sequence[str]) -> list[dict[Pair, AnswerTokens | None]]:
        pairs = [(prompt, text) for prompt in share for text in wanted[prompt]]
        found = answer_tokens(model, tokenizer, pairs, progress=stage("answer probabilities", len(pairs)))
        read_off = iter(found)
        return [{(prompt, text): next(read_off) for text in wanted[prompt]} for prompt in share]

    return {pair: tokens for found in shared_out(list(wanted), read) for pair, tokens in found.items()}


def knows(sample: ForgetSample, reply: str) -> bool:
    """A fact counts as known when the reply gives the answer and does not refuse."""
    return gives_answer(reply, sample.question, sample.answers) and not is_refusal(reply)


def by_question(evaluation: Evaluation) -> Mapping[tuple[str, str], Scored]:
    """Scored prompts by (group, prompt), to set before beside after."""
    return {(s.observation.group, s.observation.prompt): s for s in evaluation.scored}


def _questions(selection: Selection) -> list[tuple[str, ForgetSample, str]]:
    rows = [(group, sample, sample.question) for group, samples in selection.groups().items() for sample in samples]
    rephrases = [("rephrase", sample, text) for sample in selection.forget for text in sample.rephrases]
    return rows + rephrases
