"""Does a reply give the answer: the variants of what is expected are looked for among the reply's words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from easyedit_unlearn.evaluation.judging.inflection import same_word
from easyedit_unlearn.evaluation.judging.languages import language_of
from easyedit_unlearn.evaluation.judging.persons import names_person
from easyedit_unlearn.evaluation.judging.thoughts import answer_of
from easyedit_unlearn.evaluation.judging.variants import Words, variants
from easyedit_unlearn.evaluation.judging.words import ARTICLES, is_unspaced, readings, words_of

SENTENCE = 8
"""An answer of more words is a sentence: nobody repeats it word for word."""
COMMON = frozenset("about also been between from have into more most only over some than that their them they this "
                   "under very were what when where which with".split())  # fmt: skip
_NUMERALS = "0-9.〇零一二三四五六七八九十百千万億亿两"


def gives_answer(reply: str, question: str, answers: Sequence[str]) -> bool:
    """True if what a reply says, without what it thinks, gives any of ``answers``.

    An answer is given by its words in a row, in any of the ways known here to write it (``variants``: numbers, dates,
    percent, money, units), with the endings and particles of its language (``inflection``); by a person's surname where
    the question asks for a person (``persons``); or, where it is a sentence of more than 8 words, by three quarters of
    its distinctive words: numbers, and words of four letters or more that the question does not hold already.
    """
    reply = answer_of(reply)
    if not reply.strip():
        return False
    language = language_of(question) if question else language_of(reply)
    if contains_answer(reply, answers, language):
        return True
    if any(names_person(reply, question, answer) for answer in answers):
        return True
    said = set(words_of(reply))
    wanted = [distinctive(answer, question) for answer in answers if len(answer.split()) > SENTENCE]
    return any(parts and sum(part in said for part in parts) >= 0.75 * len(parts) for parts in wanted)


def contains_answer(text: str, answers: Sequence[str], language: str = "en") -> bool:
    """True if any of ``answers`` stands in ``text``, in any of the ways in which it is written in English or in
    ``language``.

    Case, accents and the punctuation between words do not count, except that answers of one or two Latin letters
    (chemical symbols) are matched with their case: "He" is helium, "he" is not.
    """
    for answer in answers:
        if is_short(answer):
            if re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text):
                return True
        elif any(_stands(one, reading, language) for reading in readings(text) for one in _wanted(answer, language)):
            return True
    return False


def distinctive(answer: str, question: str) -> set[str]:
    """The words of an answer by which one knows it."""
    known = set(words_of(question)) | COMMON
    return {
        part
        for part in words_of(answer)
        if (part[0].isdigit() or len(part) > 3 or is_unspaced(part)) and part not in known
    }


def is_short(answer: str) -> bool:
    return len(answer) <= 2 and answer.isascii() and answer.isalpha()


@lru_cache(maxsize=16384)
def _wanted(answer: str, language: str) -> tuple[Words, ...]:
    """Its variants, without a leading article."""
    found = variants(answer, language)
    return tuple({one[1:] if len(one) > 1 and one[0] in ARTICLES else one for one in found})


def _stands(wanted: Words, reading: str, language: str) -> bool:
    """Whether the words stand in a row; where one of them is of a script without spaces, anywhere, but within no longer
    number."""
    if f" {' '.join(wanted)} " in reading:
        return True
    if any(map(is_unspaced, wanted)):
        return _within("".join(wanted)).search(reading.replace(" ", "")) is not None
    return _with_endings(wanted, reading.split(), language)


@lru_cache(maxsize=16384)
def _within(joined: str) -> re.Pattern[str]:
    before = rf"(?<![{_NUMERALS}])" if re.match(rf"[{_NUMERALS}]", joined) else ""
    after = rf"(?![{_NUMERALS}])" if re.search(rf"[{_NUMERALS}]\Z", joined) else ""
    return re.compile(f"{before}{re.escape(joined)}{after}")


def _with_endings(wanted: Words, said: list[str], language: str) -> bool:
    first = wanted[0]
    for start in range(len(said) - len(wanted) + 1):
        if same_word(first, said[start], language) and all(
            same_word(one, other, language)
            for one, other in zip(wanted, said[start : start + len(wanted)], strict=True)
        ):
            return True
    return False
