"""Whether a word of a reply is a word of an answer with an ending, a particle or an article joined to it."""

from __future__ import annotations

import re

from easyedit_unlearn.evaluation.judging.words import script_of

_SHORTEST = 3
_PLURAL = 4
"""Letters that a word has, at least, before an s more or less makes no other word of it."""
_ENDINGS = {
    "ru": re.compile(
        r"[аяоеийьыуюъ]?|о[йюм]|е[йюм]|а[мх]|я[мх]|ами|ями|ого|его|ому|ему|ы[мхей]|и[мхей]|ыми|ими|ью|ов|ев|ою|ею|ая|яя|ую|юю|ое"
    ),
    "pl": re.compile(r"[aeiouy]?|owi|i?e[mjo]?|o[wm]|i?ami|i?ach|ego|emu|y[mc]h?|im|ich|iego|iemu|ia|iu|io|mi"),
    "tr": re.compile(r"'?(y|n|s)?[aeiu]?|[dt][ae]n?|l[ae]r|n?in|n?un|[dt][iu]r|yl[ae]|l[iu]|ki|n[iu]n|[dt][ae]ki"),
    "de": re.compile(r"(e?s|e?n|e)?"),
}
_DROPPED = {"ru": re.compile(r"(ый|ий|ая|ое|[аяоеийьыу])\Z"), "pl": re.compile(r"(ia|[aeioy])\Z")}
"""What of a word goes before another ending comes."""
_KOREAN = re.compile(
    r"(이라고|라고|이라는|라는|이라|라|이며|이고|이다|이었다|였다|다|입니다|이었습니다|였습니다|이에요|예요|이야|인|이었던|였던|"
    r"에서|에게|에|으로|로|은|는|이|가|을|를|의|와|과|도|만|부터|까지|처럼|이나|나|하고|님|씨)+"
)
_AL = "\u0627\u0644"
_PREFIXES = {
    "ARABIC": re.compile(r"[وف]?[بلك]?(ال|لل)?"),
    "HEBREW": re.compile("[\u05d4\u05d1\u05dc\u05d5\u05de\u05db\u05e9]{1,2}"),
}
"""Articles, and prepositions of one letter; Arabic's own article."""


def same_word(wanted: str, said: str, language: str) -> bool:
    """True where ``said`` is ``wanted``, or a form of it that its script or ``language`` makes.

    Both as ``words.readings`` has them. Korean particles, the Arabic and Hebrew articles and one-letter prepositions,
    cases in Russian (and what else is written in Cyrillic), Polish and Turkish, the German genitive and dative, and
    an s more or less in languages with Latin letters.
    """
    if wanted == said:
        return True
    if wanted[0].isdigit() or said[0].isdigit() or (wanted.isascii() and wanted[:2] != said[:2]):
        return False
    script = script_of(wanted)
    if script == "HANGUL":
        return said.startswith(wanted) and _KOREAN.fullmatch(said[len(wanted) :]) is not None
    if script in _PREFIXES:
        bare = wanted.removeprefix(_AL) if len(wanted) > _SHORTEST + 1 else wanted
        return said.endswith(bare) and _PREFIXES[script].fullmatch(said[: len(said) - len(bare)]) is not None
    if len(wanted) < _SHORTEST or wanted[:2] != said[:2]:
        return False
    kind = "ru" if script == "CYRILLIC" else language
    return (kind in _ENDINGS and _inflected(wanted, said, kind)) or (script == "LATIN" and _plural(wanted, said))


def _inflected(wanted: str, said: str, language: str) -> bool:
    stems = {wanted}
    if language in _DROPPED:
        stems.add(_DROPPED[language].sub("", wanted))
    return any(
        len(stem) >= _SHORTEST and said.startswith(stem) and _ENDINGS[language].fullmatch(said[len(stem) :]) is not None
        for stem in stems
    )


def _plural(wanted: str, said: str) -> bool:
    short, long = sorted((wanted, said), key=len)
    return len(short) >= _PLURAL and long in (f"{short}s", f"{short}es")
