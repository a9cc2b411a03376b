"""Sentences, and where in a text an answer stands word for word. What a reply *says* is judged in
``evaluation.judging``."""

from __future__ import annotations

import re
from collections.abc import Sequence


def answer_span(text: str, answers: Sequence[str]) -> tuple[int, int] | None:
    """Where the first of ``answers`` to come stands in ``text`` as whole words, word for word but for case (which
    counts in answers of one or two letters); None where none does."""
    found = [
        match.span()
        for answer in answers
        if (match := re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, 0 if len(answer) < 3 else re.IGNORECASE))
    ]
    return min(found, default=None)


def until_answer(text: str, answers: Sequence[str]) -> str:
    """``text`` up to where it has given one of ``answers`` word for word; all of it where it does not."""
    span = answer_span(text, answers)
    return text[: span[1]] if span else text


def sentences(text: str) -> list[str]:
    """The sentences of a short reply, cut after . ! ? before white space, but not after an initial or a title."""
    found: list[str] = []
    for part in re.split(r"(?<=[.!?])\s+", text.strip()):
        if found and not ends_sentence(found[-1]):
            found[-1] += f" {part}"
        elif part:
            found.append(part)
    return found


def whole_sentences(text: str) -> str:
    """``text``, as it stands, up to the end of its last whole sentence; all of it where it has none. A list's number
    ("2.") ends none."""
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)", text)]
    whole = (text[:end] for end in reversed(ends) if not re.search(r"(^|\s)\d{1,2}\.$", text[:end]))
    return next((part for part in whole if ends_sentence(part)), text)


def ends_sentence(text: str) -> bool:
    """True if ``text`` ends as a sentence does: in . ! or ?, and not in an initial or a title's dot."""
    return text.endswith((".", "!", "?")) and not re.search(r"\b([A-Z]|St|[DMJS]r|Mr?s)\.$", text)
