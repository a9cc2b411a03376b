"""Other ways to write an answer: numbers in words, dates, percent, money, units. Generated, so that replies need no
parsing; every variant is a tuple of words as ``words.readings`` makes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from easyedit_unlearn.evaluation.judging.dates import date_forms
from easyedit_unlearn.evaluation.judging.quantities import quantity_forms
from easyedit_unlearn.evaluation.judging.words import words_of

Words = tuple[str, ...]
_MOST = 64
"""Variants of one answer that are tried for its numbers."""
_SPELLED = {"zh": "ja"}
"""num2words' name of a language whose numerals are written alike."""
_HINDI = "शून्य एक दो तीन चार पांच छह सात आठ नौ दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस बीस".split()
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (10**3, "thousand"))
_ROMAN = re.compile(r"(?=[ivx]{2,})(x{0,3})(ix|iv|v?i{0,3})\Z")


@lru_cache(maxsize=8192)
def variants(answer: str, language: str = "en") -> frozenset[Words]:
    """All ways that are known here to write ``answer``, in English and in ``language``.

    Its numbers in digits and in words, ordinals, Roman numerals beside a word; a date in the orders and languages in
    which dates are written; percent, money and the usual units by sign and by name. Itself among them.
    """
    languages = tuple(dict.fromkeys(("en", language)))
    base = tuple(words_of(answer))
    found = {base} if base else set()
    if any(char.isdigit() for char in answer):
        found |= {tuple(words_of(text)) for text in quantity_forms(answer, languages)}
    found |= {counted for one in list(found) if (counted := _counted(one))}
    for one in list(found):
        found |= set(_renumbered(one, languages))
    found |= {tuple(words_of(text)) for text in date_forms(answer, languages)}
    return frozenset(one for one in found if one)


@lru_cache(maxsize=1024)
def spelled(number: int, language: str, how: str = "cardinal") -> tuple[Words, ...]:
    """A number in words, as num2words has it (``how``: cardinal, ordinal or year); none where it does not know the
    language."""
    if language == "hi" and how == "cardinal" and 0 <= number < len(_HINDI):
        return (tuple(words_of(_HINDI[number])),)
    from num2words import num2words

    try:
        said = str(num2words(number, lang=_SPELLED.get(language, language), to=how))
    except (NotImplementedError, OverflowError, ValueError, IndexError, KeyError, TypeError):
        return ()
    forms = {said, said.replace("-", ""), said.replace(" and ", " "), said.replace(",", "")}
    return tuple({tuple(words_of(form)) for form in forms})


def _renumbered(words: Words, languages: tuple[str, ...]) -> Iterator[Words]:
    """The same words with every number written in other ways."""
    ways = [_ways(word, len(words), languages) for word in words]
    if all(len(way) == 1 for way in ways):
        return
    for number, chosen in enumerate(product(*ways)):
        if number == _MOST:
            return
        yield tuple(part for parts in chosen for part in parts)


def _ways(word: str, among: int, languages: tuple[str, ...]) -> list[Words]:
    """One word, and where it is a number, the other ways to write it."""
    found: list[Words] = [(word,)]
    if re.fullmatch(r"-?\d+", word):
        value = int(word)
        if abs(value) < 10**15:
            found += [way for language in languages for way in spelled(value, language)]
            found += _scaled(value)
        if word.isdigit() and 1100 <= value < 2100:
            found += spelled(value, "en", "year")
    elif match := re.fullmatch(r"(\d+)(?:st|nd|rd|th)", word):
        found += [way for language in languages for way in spelled(int(match.group(1)), language, "ordinal")]
    elif among > 1 and _ROMAN.match(word):
        value = _roman(word)
        found += [(str(value),), *spelled(value, "en"), *spelled(value, "en", "ordinal")]
    else:
        found += [(str(value),) for value in _values(languages).get(word, ())]
    return list(dict.fromkeys(found))


def _scaled(value: int) -> list[Words]:
    """2800000 as 2.8 million."""
    for scale, name in _SCALES:
        if abs(value) >= scale and (value * 100) % scale == 0:
            return [(f"{value / scale:.2f}".rstrip("0").rstrip("."), name)]
    return []


@lru_cache(maxsize=64)
def _values(languages: tuple[str, ...]) -> dict[str, list[int]]:
    """The numbers up to a hundred that are one word, by that word."""
    found: dict[str, list[int]] = {}
    for language in languages:
        for value in (*range(21), *range(30, 101, 10)):
            for way in spelled(value, language):
                if len(way) == 1 and (len(way[0]) > 2 or not way[0].isascii()):
                    found.setdefault(way[0], []).append(value)
    return found


def _roman(word: str) -> int:
    digits = {"i": 1, "v": 5, "x": 10}
    values = [digits[char] for char in word]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def _counted(words: Words) -> Words | None:
    """2.8 million as 2800000."""
    for scale, name in _SCALES:
        if len(words) > 1 and words[1] == name and re.fullmatch(r"\d+(\.\d+)?", words[0]):
            value = round(float(words[0]) * scale)
            return (str(value), *words[2:])
    return None
