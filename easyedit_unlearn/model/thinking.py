"""Replies of models that think before they answer: their text, and how long they may go on."""

from __future__ import annotations

from easyedit_unlearn.evaluation.judging.thoughts import MARKERS, split_thought
from easyedit_unlearn.types import PreTrainedTokenizerBase

THOUGHT = 1024
"""Tokens that a reply may take beyond its own to end a thought."""
CLOSINGS = tuple(closing for _, closing in MARKERS)


def reply_text(tokenizer: PreTrainedTokenizerBase, prompt: str, ids: list[int]) -> str:
    """The text of a reply, without special tokens but for those that mark a thought; with the mark that opens it where
    the prompt did."""
    special = set(tokenizer.all_special_tokens)
    kept = {
        token
        for pair in MARKERS
        if any(map(pair[0].startswith, special))
        for token in special
        if token in "".join(pair)
    }
    if kept:
        dropped = special - kept
        text = str(tokenizer.decode(ids, skip_special_tokens=False))
        for token in sorted(dropped, key=len, reverse=True):
            text = text.replace(token, "")
    else:
        text = str(tokenizer.decode(ids, skip_special_tokens=True))
    return f"{opened_by(prompt)}{text}".strip()


def opened_by(prompt: str) -> str:
    """The mark that opens a thought, where the prompt ends in it; a template may begin the reply so."""
    end = prompt.rstrip()
    return next((opening for opening, _ in MARKERS if end.endswith(opening)), "")


def still_thinks(reply: str) -> bool:
    """True where a thought was opened and has not ended."""
    return not split_thought(reply).closed
