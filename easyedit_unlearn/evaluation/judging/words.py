"""A text as the words that are compared: case, accents, apostrophes and the way numbers are written do not count."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

ARTICLES = frozenset(
    "the a an der die das ein eine le la les un une el los las una il lo gli i o os as um uma de het een".split()
)
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    r"\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Chinese and Japanese characters: no spaces stand between their words."""
UNSPACED = re.compile(f"[{_UNSPACED}]")
_MARKS = "".join(char for char in map(chr, range(0x370, 0x1C00)) if unicodedata.category(char) in ("Mn", "Mc"))
"""Signs of vowels, which belong to a word although they are no letters."""
_TOKEN = re.compile(
    rf"\d+(?:st|nd|rd|th)(?!\w)|(?:(?<![\w.,])[-\u2212])?\d+(?:\.\d+)?|[%\u00b0\u00a3$\u20ac\u00a5\u20a9\u20b9]"
    rf"|[{_UNSPACED}]+|(?:[^\W\d_{_UNSPACED}]|[{_MARKS}])+"
)
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:([.,' \u00a0\u202f\u2019])\d{3})(?:\1\d{3})*(?![\d])")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_BARE = re.compile(r"[\u0300-\u036f]")
_ARABIC = str.maketrans(
    {"\u0623": "\u0627", "\u0625": "\u0627", "\u0622": "\u0627", "\u0629": "\u0647", "\u0649": "\u064a",
     "\u0640": "", **{chr(mark): "" for mark in (*range(0x064B, 0x0660), 0x0670, *range(0x0591, 0x05C8))}}
)  # fmt: skip
"""Forms of alef, the letters that end words, and the marks of vowels, which most writers leave out; Hebrew's too."""


@lru_cache(maxsize=16384)
def plain(text: str) -> str:
    """Case folded, accents of Latin, Greek and Cyrillic and typographic apostrophes plain, white space single."""
    text = text.replace("\u2019", "'").replace("\u2018", "'")
    if not text.isascii():
        text = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))
        text = unicodedata.normalize("NFC", _BARE.sub("", text)).translate(_ARABIC)
        text = "".join(str(unicodedata.digit(char)) if char.isdigit() else char for char in text)
        text = text.replace("\u0131", "i").replace("\u0142", "l").replace("\u0141", "l")  # Turkish i, Polish l
    return " ".join(text.casefold().split())


@lru_cache(maxsize=16384)
def readings(text: str) -> tuple[str, ...]:
    """The words of ``text``, one space between them and one at each end; twice where a number can be read in two ways
    ("1.500" is a thousand and a half in one country, one and a half in another).

    Words are runs of letters, numbers, signs of currencies, of percent and of degrees, or runs of characters of a
    script that is written without spaces.
    """
    folded = plain(text)
    if not any(char.isdigit() for char in folded):
        return (_spaced(folded),)
    english = _spaced(_joined(folded, ".", _GROUPED))
    other = _spaced(_DECIMAL_COMMA.sub(".", _joined(folded, "", _GROUPED)))
    return (english,) if english == other else (english, other)


def words_of(text: str) -> list[str]:
    """The words of the first reading."""
    return readings(text)[0].split()


def is_unspaced(word: str) -> bool:
    return UNSPACED.match(word) is not None


def script_of(word: str) -> str:
    """The script of a word's first letter, as Unicode names it: "LATIN", "CYRILLIC", "HANGUL", ..."""
    if word.isascii():
        return "LATIN" if any(map(str.isalpha, word)) else ""
    letter = next((char for char in word if char.isalpha()), "")
    return unicodedata.name(letter, "").split(" ")[0] if letter else ""


def _joined(text: str, decimal: str, grouped: re.Pattern[str]) -> str:
    """Numbers whose thousands are set apart, in one piece; one group after ``decimal`` is a fraction."""

    def join(match: re.Match[str]) -> str:
        mark, found = match.group(1), match.group(0)
        if mark == decimal and found.count(mark) == 1:
            return found
        return found.replace(mark, "")

    return grouped.sub(join, text)


def _spaced(text: str) -> str:
    return f" {' '.join(_tokens(text))} "


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        yield match.group(0).replace("\u2212", "-")
