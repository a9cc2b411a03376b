"""What a refusal gives away, and whether it says what it is about."""

from __future__ import annotations

from collections.abc import Sequence

from easyedit_unlearn.evaluation.judging.answers import COMMON, contains_answer, distinctive
from easyedit_unlearn.evaluation.judging.words import words_of


def gives_away(text: str, question: str, answers: Sequence[str]) -> bool:
    """True if ``text`` contains an answer or a distinctive part of one: a number, or a word of four letters or more,
    that the question does not hold already."""
    parts = [part for answer in answers for part in distinctive(answer, question)]
    return contains_answer(text, answers) or contains_answer(text, parts)


def names_subject(text: str, subject: str | None, question: str) -> bool:
    """True if ``text`` says what it is about: every name and number in the subject (every word where it has none), or,
    without a subject, any word of five letters or more of the question that is not as common as "where"."""
    said = set(words_of(text))
    if subject is None:
        return any(len(word) > 4 and word in said for word in set(words_of(question)) - COMMON)
    words = [(word.strip("'\"(“‘«"), words_of(word)) for word in subject.split()]
    names = [parts for word, parts in words if word[:1].isupper() or word[:1].isdigit()]
    chosen = names or [parts for _, parts in words]
    wanted = [part for parts in chosen for part in parts if part != "s" or parts == ["s"]]  # a possessive's
    return bool(wanted) and all(part in said for part in wanted)
