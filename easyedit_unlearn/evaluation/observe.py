"""The one shared pass over a model's sets, before any metric reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.evaluation.formulas import loss_score
from easyedit_unlearn.evaluation.questions import published_answers, questions_of
from easyedit_unlearn.model.knowledge import reply_to
from easyedit_unlearn.model.processes import shared_out
from easyedit_unlearn.model.prompting import format_prompt, reply_end
from easyedit_unlearn.types import (
    AnswerTokens,
    Observation,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PromptStyle,
    Selection,
)

PromptAnswer = tuple[str, str]
"""A prompt and an answer."""
_GRADIENTS = ("forget", "holdout")


@dataclass(frozen=True)
class GenerationConfig:
    """How a model is asked: prompt style, system prompt, length of the replies; whether gradients are measured on the
    forget and holdout sets, which takes a backward pass for each; and whether the end of an answer is scored as a token
    of it."""

    style: PromptStyle = "auto"
    system: str | None = None
    max_new_tokens: int = 48
    gradnorm: bool = False
    score_end: bool = True


DEFAULT_GENERATION = GenerationConfig()


@dataclass(frozen=True)
class Observations:
    """All that was seen of one model state: its observations, and its perplexity on the bundled text."""

    observations: list[Observation]
    perplexity: float


def prompts_of(tokenizer: PreTrainedTokenizerBase, selection: Selection, generation: GenerationConfig) -> list[str]:
    """Of ``questions_of``, in their order, as the model is given them; plain texts after nothing."""
    return [
        format_prompt(tokenizer, text, generation.style, system=generation.system) if text else ""
        for *_, text in questions_of(selection)
    ]


def observe(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    selection: Selection,
    generation: GenerationConfig,
    *,
    progress: Progress = no_progress,
    replies: Mapping[str, str] | None = None,
) -> Observations:
    """Ask every question and rephrase once, greedily, and read every answer off; ``replies``: what this model is known
    to say to some of the questions, which are not asked again."""
    from easyedit_unlearn.evaluation.continuations import continuations
    from easyedit_unlearn.evaluation.gradients import gradient_norms
    from easyedit_unlearn.model import inference

    questions, prompts, replies = questions_of(selection), prompts_of(tokenizer, selection, generation), replies or {}
    said = {prompt: replies[q] for prompt, (_, _, q) in zip(prompts, questions, strict=True) if q in replies}
    said[""] = ""
    new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in said]
    said |= dict(
        zip(new, reply_to(model, tokenizer, new, generation.max_new_tokens, progress, "answering"), strict=True)
    )
    answers = [
        # the published answers belong to the published question
        (prompt, [sample.answer, sample.answer] if group == "rephrase" else published_answers(sample))
        for prompt, (group, sample, _) in zip(prompts, questions, strict=True)
    ]
    end = reply_end(tokenizer, generation.style) if generation.score_end else None
    forced = _forced(model, tokenizer, answers, progress, end)
    own = [
        (group, (prompt, texts[0]) if group != "rephrase" else None)
        for (group, *_), (prompt, texts) in zip(questions, answers, strict=True)
    ]
    continued = continuations(model, tokenizer, [pair for _, pair in own if pair], progress)
    measured = [pair for group, pair in own if pair and generation.gradnorm and group in _GRADIENTS]
    norms = dict(zip(measured, gradient_norms(model, tokenizer, measured, progress), strict=True)) if measured else {}
    seen = []
    for (group, sample, question), (prompt, texts), (_, pair) in zip(questions, answers, own, strict=True):
        first, correct, *wrong = (forced[prompt, text] for text in texts)
        logprobs = tuple(logprob for one in wrong if (logprob := loss_score(one)) is not None)
        observation = Observation(
            sample, group, question, said[prompt], loss_score(first), first, loss_score(correct), logprobs,
            continued.get(pair) if pair else None, norms.get(pair) if pair else None,
        )  # fmt: skip
        seen.append(observation)
    return Observations(seen, inference.perplexity(model, tokenizer, inference.plain_text()))


def _forced(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, answers: Iterable[tuple[str, Sequence[str]]],
    progress: Progress, end: int | None,
) -> dict[PromptAnswer, AnswerTokens | None]:  # fmt: skip
    """By (prompt, answer). The answers to one prompt stay together: it is run once for them."""
    from easyedit_unlearn.model.forced import answer_tokens

    wanted: dict[tuple[str, str], dict[str, None]] = {}
    for prompt, texts in answers:
        alone = texts[0] if not prompt else ""  # plain texts share no prompt
        wanted.setdefault((prompt, alone), {}).update(dict.fromkeys(texts))

    def read(share: Sequence[tuple[str, str]]) -> list[dict[PromptAnswer, AnswerTokens | None]]:
        pairs = [(one[0], text) for one in share for text in wanted[one]]
        found = answer_tokens(model, tokenizer, pairs, advance=progress("answer probabilities", len(pairs)), end=end)
        read_off = iter(found)
        return [{(one[0], text): next(read_off) for text in wanted[one]} for one in share]

    return {pair: tokens for found in shared_out(list(wanted), read) for pair, tokens in found.items()}
