"""What a model knows: its greedy replies to questions, and whether they hold the fact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.evaluation.judging import gives_answer
from easyedit_unlearn.model.processes import shared_out
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.text import whole_sentences
from easyedit_unlearn.types import ForgetSample, PreTrainedModel, PreTrainedTokenizerBase, PromptStyle, Unfinished

T = TypeVar("T")


REPLY = 48
"""Tokens of a reply, where nothing else is asked for."""


class Store(Protocol):
    """Where what a model said before is kept."""

    def get(self, kind: type[T], texts: Sequence[str], how: Any, make: Callable[[], T]) -> T:
        """``make()``, or what it gave before."""
        ...


def ask_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[ForgetSample],
    *,
    style: PromptStyle = "auto",
    max_new_tokens: int = REPLY,
    progress: Progress = no_progress,
    what: str = "checking what the model knows",
    stored: Store | None = None,
) -> list[str]:
    """The model's greedy reply to every question."""
    prompts = [format_prompt(tokenizer, sample.question, style) for sample in samples]

    def make() -> list[str]:
        return reply_to(model, tokenizer, prompts, max_new_tokens, progress, what)

    return make() if stored is None else stored.get(list[str], prompts, max_new_tokens, make)


def ended(tokenizer: PreTrainedTokenizerBase, reply: str, max_new_tokens: int, holds: Callable[[str], bool]) -> str:
    """The reply, which is ``Unfinished`` if it is as long as it was allowed to be, so that the model would have gone
    on: its whole sentences then, where what it ``holds`` is in them."""
    if len(tokenizer(reply, add_special_tokens=False).input_ids) < max_new_tokens - 1:
        return reply
    whole = whole_sentences(reply)
    return Unfinished(whole if holds(whole) else reply)


def knows(sample: ForgetSample, reply: str) -> bool:
    """A fact counts as known when the reply gives the answer."""
    return gives_answer(reply, sample.question, sample.answers)


def reply_to(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_new_tokens: int,
    progress: Progress, what: str,
) -> list[str]:  # fmt: skip
    """The greedy reply to every prompt."""
    from easyedit_unlearn.model.inference import generate_replies

    def ask(share: Sequence[str]) -> list[str]:
        advance = progress(what, len(share)) if share else None
        return generate_replies(model, tokenizer, share, max_new_tokens=max_new_tokens, advance=advance)

    return shared_out(prompts, ask)
