"""What a model makes of an answer that it is given the first half of (VerbMem, arXiv 2407.06460)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from easyedit_unlearn.components import Progress
from easyedit_unlearn.model.inference import generate_replies
from easyedit_unlearn.model.processes import shared_out
from easyedit_unlearn.model.prompting import begun
from easyedit_unlearn.model.structure import context_length
from easyedit_unlearn.types import Continuation, PreTrainedModel, PreTrainedTokenizerBase

LONGEST = 128
"""Tokens that are wanted of a long text's second half (as MUSE asks for)."""
WORDS = 8
"""Answers of fewer words are no text to go on with."""


def halves(answer: str) -> tuple[str, str] | None:
    """The first half of an answer's words and the rest, as they stand there; None of a short one."""
    starts = [word.start() for word in re.finditer(r"\S+", answer)]
    if len(starts) < WORDS:
        return None
    middle = starts[len(starts) // 2]
    return answer[:middle].strip(), answer[middle:].strip()


def continuations(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]], progress: Progress
) -> dict[tuple[str, str], Continuation]:
    """By (prompt, answer), how the model goes on greedily after the first half, for as many tokens as the rest has, at
    most ``LONGEST``; for the pairs whose answer is long enough."""
    split = {pair: halves(pair[1]) for pair in dict.fromkeys(pairs)}
    wanted = [(pair, *parts) for pair, parts in split.items() if parts]

    def complete(share: Sequence[tuple[tuple[str, str], str, str]]) -> list[Continuation]:
        if not share:
            return []
        room = (context_length(model) or 2**30) - LONGEST  # of a longer first half, its end
        prompts = [_last_tokens(tokenizer, begun(prompt, first), room) for (prompt, _), first, _ in share]
        rests = [_first_tokens(tokenizer, rest, LONGEST) for *_, rest in share]
        lengths = [len(tokenizer(f" {rest}", add_special_tokens=False).input_ids) for rest in rests]
        advance = progress("continuing answers", len(prompts))
        said = generate_replies(model, tokenizer, prompts, max_new_tokens=max(lengths), advance=advance)
        return [
            Continuation(rest, _first_tokens(tokenizer, text, length))
            for rest, text, length in zip(rests, said, lengths, strict=True)
        ]

    return dict(zip((pair for pair, _, _ in wanted), shared_out(wanted, complete), strict=True))


def _last_tokens(tokenizer: PreTrainedTokenizerBase, text: str, count: int) -> str:
    ids = tokenizer(text).input_ids
    return text if len(ids) <= count else str(tokenizer.decode(ids[-count:], skip_special_tokens=True))


def _first_tokens(tokenizer: PreTrainedTokenizerBase, text: str, count: int) -> str:
    ids = tokenizer(f" {text}", add_special_tokens=False).input_ids
    return text if len(ids) <= count else str(tokenizer.decode(ids[:count], skip_special_tokens=True)).strip()
