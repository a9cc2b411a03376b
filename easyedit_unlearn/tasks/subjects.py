"""What a question is about, for data sets that do not say: the name that a block of texts shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_WORD = r"[^\W\d_a-zà-ÿ][\w'’-]*"  # a capital, then anything
_LINK = r"(?:de|da|del|di|du|la|le|van|von|der|bin|ibn|al|el|y|e)"
_NAME = re.compile(rf"{_WORD}(?:\s+(?:{_LINK}\s+){{0,2}}{_WORD})+")
_OPENERS = frozenset(
    "a an and are as besides can considering could did do does given has have how if in is of on regarding since the "
    "through was were what when where which who whose why with would author".split()
)
_DESCRIPTION = re.compile(r"\b(author|writer|novelist|poet|person|figure)\b.*?(?=[?.,;]?$|, (?:and|who|what)\b)")


def shared_name(texts: Sequence[str]) -> str | None:
    """The name of two words or more that stands in most of ``texts``, the longest of those that stand in as many; None
    where no name stands in a third of them.

    A place or a work stands in few of the texts about a person, so that the person is found.
    """
    names = {name for text in texts for name in _names(text)}
    counted = sorted(((sum(name in text for text in texts), len(name), name) for name in names), reverse=True)
    return counted[0][2] if counted and counted[0][0] * 3 >= len(texts) else None


def subject_in(question: str, name: str | None) -> str | None:
    """How ``question`` names what it is about, as it stands there, exactly once: by ``name`` or the longest part of it,
    else by a description ("author born in Kuwait City, Kuwait on 08/09/1956"); None where neither does."""
    for part in _parts(name.split() if name else []):
        if len(re.findall(rf"(?<!\w){re.escape(part)}(?!\w)", question)) == 1 and question.count(part) == 1:
            return part
    described = _DESCRIPTION.search(question)
    found = described.group(0).rstrip("?. ") if described else None
    return found if found and question.count(found) == 1 else None


def _names(text: str) -> Iterable[str]:
    for match in _NAME.finditer(text):
        words = re.sub(r"['’]s?\b(?=\s|$)", "", match.group(0)).split()
        while words and words[0].casefold() in _OPENERS:
            words = words[1:]
        if len(words) > 1:
            yield " ".join(words)


def _parts(words: Sequence[str]) -> Iterable[str]:
    """The whole, then runs of fewer and fewer words; of one length, the last run first: a surname before a first
    name."""
    for size in range(len(words), 0, -1):
        for start in range(len(words) - size, -1, -1):
            part = " ".join(words[start : start + size])
            if part[0].isupper() and len(part) > 2:
                yield part
