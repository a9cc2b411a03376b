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
_DECLINES = re.compile(
    r"\b(can(?:no|')?t|can not|could(?:n't| not)|won't|will not|not able to|unable to|not allowed to|decline"
    r"|do(?:n't| not) (?:know|have)|have no)\b"
)
_COMMON = frozenset("about also been between from have into more most only over some than that their them they this "
                    "under very were what when where which with".split())  # fmt: skip
SENTENCE = 8
"""An answer of more words is a sentence: nobody repeats it word for word."""
REFUSAL_WINDOW = 120
"""A refusal must begin within this many characters: an apology after a full answer is not a refusal."""


def normalise(text: str) -> str:
    """Case folded, accents and typographic apostrophes plain, white space single."""
    text = unicodedata.normalize("NFKD", text.replace("\u2019", "'").replace("\u2018", "'"))
    text = "".join(char for char in text if not unicodedata.combining(char))
    return " ".join(text.casefold().split())


def contains_answer(text: str, answers: Sequence[str]) -> bool:
    """True if any of ``answers`` stands in ``text`` as whole words.

    Case, accents and the punctuation between words do not count, except that answers of one or two letters (chemical
    symbols) are matched with their case: "He" is helium, "he" is not.
    """
    return any(_pattern(answer).search(text if _short(answer) else _words(text)) for answer in answers)


def answer_span(text: str, answers: Sequence[str]) -> tuple[int, int] | None:
    """Where the first of ``answers`` to come stands in ``text`` as whole words, word for word but for case (which
    counts in answers of one or two letters); None where none does."""
    found = [
        match.span()
        for answer in answers
        if (match := re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, 0 if _short(answer) else re.IGNORECASE))
    ]
    return min(found, default=None)


def until_answer(text: str, answers: Sequence[str]) -> str:
    """``text`` up to where it has given one of ``answers`` word for word; all of it where it does not."""
    span = answer_span(text, answers)
    return text[: span[1]] if span else text


def gives_answer(text: str, question: str, answers: Sequence[str]) -> bool:
    """True if a reply gives any of ``answers``: as whole words, or, where the answer is a sentence (more than 8 words),
    three quarters of its distinctive words: numbers, and words of four letters or more that the question does not hold
    already. Without any, the whole sentence."""
    if contains_answer(text, answers):
        return True
    said = set(_words(text).split())
    wanted = [_distinctive(answer, question) for answer in answers if len(answer.split()) > SENTENCE]
    return any(parts and sum(part in said for part in parts) >= 0.75 * len(parts) for parts in wanted)


def is_refusal(text: str) -> bool:
    """True if a reply refuses: one of the usual refusal phrases begins in its first 120 characters.

    A reply can both refuse and give the answer ("I'm sorry, it is Tokyo"): the two are scored separately.
    """
    match = _REFUSALS.search(normalise(text))
    return match is not None and match.start() < REFUSAL_WINDOW


def declines(text: str) -> bool:
    """True if a reply says in so many words that it will not or cannot answer. An apology or doubt alone does not:
    "I'm sorry, but it is Kyoto", "I'm not sure, but I think it is Kyoto"."""
    return _DECLINES.search(normalise(text)) is not None


def gives_away(text: str, question: str, answers: Sequence[str]) -> bool:
    """True if ``text`` contains an answer or a distinctive part of one: a number, or a word of four letters or more,
    that the question does not hold already."""
    parts = [part for answer in answers for part in _distinctive(answer, question)]
    return contains_answer(text, answers) or contains_answer(text, parts)


def names_subject(text: str, subject: str | None, question: str) -> bool:
    """True if ``text`` says what it is about: every name and number in the subject (every word where it has none), or,
    without a subject, any word of five letters or more of the question that is not as common as "where"."""
    said = set(_words(text).split())
    if subject is None:
        return any(len(word) > 4 and word in said for word in set(_words(question).split()) - _COMMON)
    words = [(word.strip("'\"(“‘«"), _words(word).split()) for word in subject.split()]
    names = [parts for word, parts in words if word[:1].isupper() or word[:1].isdigit()]
    chosen = names or [parts for _, parts in words]
    wanted = [part for parts in chosen for part in parts if part != "s" or parts == ["s"]]  # a possessive's
    return bool(wanted) and all(part in said for part in wanted)


def sentences(text: str) -> list[str]:
    """The sentences of a short reply, cut after . ! ? before white space, but not after an initial or a title."""
    found: list[str] = []
    for part in re.split(r"(?<=[.!?])\s+", text.strip()):
        if found and not ends_sentence(found[-1]):
            found[-1] += f" {part}"
        elif part:
            found.append(part)
    return found


def ends_sentence(text: str) -> bool:
    """True if ``text`` ends as a sentence does: in . ! or ?, and not in an initial or a title's dot."""
    return text.endswith((".", "!", "?")) and not re.search(r"\b([A-Z]|St|[DMJS]r|Mr?s)\.$", text)


def _distinctive(answer: str, question: str) -> set[str]:
    """The words of an answer by which one knows it: see :func:`gives_away`."""
    known = set(_words(question).split()) | _COMMON
    return {part for part in _words(answer).split() if (part.isdigit() or len(part) > 3) and part not in known}


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
