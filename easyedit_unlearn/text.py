"""What a reply says: does it give the answer, does it refuse. Pure functions on strings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_REFUSALS = re.compile(
    r"""\b(
      i \s (?:really\s|simply\s|currently\s|just\s)? (?:
          can(?:no|'|\s)?t | can\snot | could(?:n't|\snot) | won't | will\snot | am\s(?:not\sable|unable|not\ssure)
        | do(?:n't|\snot)\s(?:know|have|recall|remember) | have\sno | must\sdecline | decline | would\srather\snot
      )
    | i'm\s (?:really\s|very\s|so\s)? (?:sorry|unable|afraid|not\s(?:sure|able|certain|aware|familiar|allowed))
    | i\sam\s (?:really\s|very\s|so\s)? (?:sorry|afraid|not\s(?:certain|aware|familiar|allowed))
    | (?:my\s)?apologies | (?:that|this|it)\s(?:is|'s)\s(?:not\ssomething\si|beyond\swhat\si|unknown\sto\sme)
    | (?:it\sis|it's)\snot\spossible\sfor\sme | no\s(?:information|idea|knowledge)\b
    | (?:that|the)\sinformation\s(?:is|isn't)\s(?:not\s)?(?:available|unavailable|something\si)
    )""",
    re.VERBOSE,
)
_COMMON = frozenset("about also been between from have into more most only over some than that their them they this "
                    "under very were what when where which with".split())  # fmt: skip
REFUSAL_WINDOW = 120
"""A refusal must begin within this many characters: an apology after a full answer is not a refusal."""


def normalise(text: str) -> str:
    """Case folded, accents and typographic apostrophes plain, white space single."""
    text = unicodedata.normalize("NFKD", text.replace("\u2019", "'").replace("\u2018", "'"))
    text = "".join(char for char in text if not unicodedata.combining(char))
    return " ".join(text.casefold().split())


def contains_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether any of ``answers`` stands in ``text`` as whole words.

    Case, accents and the punctuation between words do not count, except that answers of one or two letters (chemical
    symbols) are matched with their case: "He" is helium, "he" is not.
    """
    return any(_pattern(answer).search(text if _short(answer) else _words(text)) for answer in answers)


def is_refusal(text: str) -> bool:
    """Whether a reply refuses: one of the usual refusal phrases begins in its first 120 characters.

    A reply can both refuse and give the answer ("I'm sorry, it is Tokyo"): the two are scored separately.
    """
    match = _REFUSALS.search(normalise(text))
    return match is not None and match.start() < REFUSAL_WINDOW


def gives_away(text: str, question: str, answers: Sequence[str]) -> bool:
    """Whether ``text`` contains an answer or a distinctive part of one: a number, or a word of four letters or more,
    that the question does not hold already."""
    asked = set(_words(question).split())
    parts = [part for answer in answers for part in _words(answer).split() if part.isdigit() or len(part) > 3]
    return contains_answer(text, answers) or contains_answer(text, [p for p in parts if p not in asked | _COMMON])


def names_subject(text: str, subject: str | None, question: str) -> bool:
    """Whether ``text`` says what it is about: every name and number in the subject (every word where it has none), or,
    without a subject, any word of five letters or more of the question."""
    said = set(_words(text).split())
    if subject is None:
        return any(len(word) > 4 and word in said for word in _words(question).split())
    words = re.findall(r"\w+", subject)
    names = [word for word in words if word[0].isupper() or word[0].isdigit()] or words
    return bool(names) and all(_words(name) in said for name in names)


def sentences(text: str) -> list[str]:
    """The sentences of a short reply, cut after . ! ? before white space; abbreviations are not known."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]


def _short(answer: str) -> bool:
    return len(answer) <= 2 and answer.isalpha()


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", normalise(text)))


@lru_cache(maxsize=4096)
def _pattern(answer: str) -> re.Pattern[str]:
    wanted = answer if _short(answer) else _words(answer)
    if not wanted:  # an answer of punctuation alone can never be recognised
        return re.compile(r"(?!)")
    return re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
