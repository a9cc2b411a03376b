"""What a question is about, for data sets that do not say: the name that a block of texts shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_LOWER = "".join(letter for letter in map(chr, (*range(0x600), *range(0x1E00, 0x2000))) if letter.islower())
_WORD = rf"[^\W\d_{_LOWER}][\w'’-]*"  # a capital, then anything
_LINK = r"(?:de|da|del|di|du|la|le|van|von|der|bin|ibn|al|el|y|e)"
_NAME = re.compile(rf"{_WORD}(?:\s+(?:{_LINK}\s+){{0,2}}{_WORD})+")
CAPITALS = re.compile(rf"{_WORD}(?:\s+(?:{_LINK}\s+){{0,2}}{_WORD})*")
"""A run of words with capitals."""
_QUOTED = re.compile(r"(?<!\w)(?:\"(.+?)\"|“(.+?)”|['‘](.+?)['’])(?!\w)")
_PLACED = re.compile(r"\b(?:in|at|from|of|near)\s+(?:the\s+)?$", re.IGNORECASE)
_ASKED = re.compile(r"\b(?:which|what|how many)\s+$", re.IGNORECASE)
_ASIDE = re.compile(
    r"\b(?:(?:in|at|from|on|across)\s+(?:the\s+|degrees\s+)?|(?:which|what|how many)\s+)$", re.IGNORECASE
)
_OPENERS = frozenset(
    "a after an and are as at before besides by can considering could did do does during for from given has have how "
    "if in into is of on regarding since the through to under until upon was were what when where which who whose why "
    "with within without would author".split()
)
_FUNCTION = _OPENERS | frozenset(
    "be been being by but called do for from had has he her him his how into it its many me much my name named not or "
    "our she should so tell than that their them then there these they this those to us we who's what's will you your "
    "say know please give list identify".split()
)
"""No subject begins or ends with one."""
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese are written without spaces."""
_WHOLE = re.compile(r"[^\W_]+")
_LETTERS = (2, 3, 4, 6)
MOST = 96
"""Spans that are tried of one question."""
_WHOSE = re.compile(r"['’](?:s\b|(?!\w))")
"""What follows on a name whose something is meant."""
_ROLE = r"\b(author|writer|novelist|poet|person|figure)\b"
_DESCRIPTION = re.compile(rf"{_ROLE}.*?(?=[?.,;]?$|, (?:and|who|what)\b)")
_PERSON = re.compile(rf"\b(?:who|whom|whose|playwright)\b|{_ROLE}", re.IGNORECASE)


def shared_name(texts: Sequence[str]) -> str | None:
    """The name of two words or more that stands in most of ``texts``, the longest of those that stand in as many; None
    where no name stands in a third of them.

    A place or a work stands in few of the texts about a person, so that the person is found.
    """
    names = ranked_names(texts)
    return names[0] if names and sum(names[0] in text for text in texts) * 3 >= len(texts) else None


def ranked_names(texts: Sequence[str]) -> list[str]:
    """All names of two words or more that stand in ``texts``: in the most of them first, of as many the longest."""
    names = {name for text in texts for name in _names(text)}
    return sorted(names, key=lambda name: (sum(name in text for text in texts), len(name), name), reverse=True)


def standing_once(question: str, names: Sequence[str]) -> str | None:
    """The first of ``names`` that stands in ``question`` exactly once, as whole words."""
    return next((name for name in names if _once(name, question)), None)


def named_span(question: str) -> str | None:
    """For a question on its own: the longest title in quotes, else the longest run of words with capitals, that stands
    there exactly once; never a place ("in Norway", "of the Soviet Union") where a person is asked about."""
    return max(_titles(question) or _capitalised(question), key=len, default=None)


def candidate_spans(question: str) -> list[str]:
    """What ``question`` may be about, each standing there exactly once: its titles in quotes and names of several words
    beside them, else its runs of words with capitals that say neither where ("the largest ocean on Earth") nor what is
    asked for ("which European city"); where there are only such, or none, its short runs of words as well, where a
    script has no spaces of letters. At most ``MOST``."""
    titles, named = _titles(question), _capitalised(question)
    if titles:
        inside = set(" ".join(titles).split())
        return [*titles, *(name for name in named if " " in name and not inside.issuperset(name.split()))]
    alone = [span for span in named if not _aside(question, span)]
    if alone:
        return alone
    taken = {word for span in named for word in span.split()}
    return [*named, *(span for span in _runs(question) if taken.isdisjoint(span.split()))][:MOST]


def _aside(question: str, span: str) -> bool:
    """True if it says where, or what is asked for; not whose ("in Michael Crichton's novels"), and of what is asked for
    one word alone: "which Michael Crichton novel" names him."""
    before, after = question[: question.index(span)], question[question.index(span) + len(span) :]
    found = _ASIDE.search(before)
    asked = found and _ASKED.search(before)
    return bool(found) and not _WHOSE.match(after) and not (asked and " " in span)


def _runs(question: str) -> list[str]:
    words = list(re.finditer(r"[\w'’-]+", question))
    if any(_UNSPACED.search(word.group(0)) for word in words):
        return [
            span for size in _LETTERS for start in range(len(question) - size + 1)
            if _WHOLE.fullmatch(span := question[start : start + size]) and question.count(span) == 1
        ]  # fmt: skip
    runs = [words[start : start + size] for size in (1, 2, 3) for start in range(len(words) - size + 1)]
    places = [
        (run[0].start(), run[-1].end())
        for run in runs
        if not any(end.group(0).casefold() in _FUNCTION for end in (run[0], run[-1]))
    ]
    told = [(start, stop) for start, stop in places if not _ASKED.search(question[:start])]
    return _each_once([question[start:stop] for start, stop in told or places], question)


def _titles(question: str) -> list[str]:
    """What stands in quotes, with a capital."""
    found = [next(filter(None, match.groups())).strip(" ,.;") for match in _QUOTED.finditer(question)]
    return _each_once([title for title in found if not title.islower()], question)


def _capitalised(question: str) -> list[str]:
    """Runs of words with capitals, but no place where a person is asked about; each up to whose something is meant."""
    person = bool(_PERSON.search(question))
    found = []
    for match in CAPITALS.finditer(question):
        placed = person and _PLACED.search(question[: match.start()])
        *owners, last = re.split(r"['’]s?(?=\s|$)", match.group(0))
        for name, whose in [*((owner, True) for owner in owners), (last, False)]:
            words = name.split()
            while words and words[0].casefold() in _OPENERS:
                words = words[1:]
            if words and words[0][0].isupper() and (whose or not placed):
                found.append(" ".join(words))
    return _each_once(found, question)


def _each_once(spans: Sequence[str], question: str) -> list[str]:
    return [span for span in dict.fromkeys(spans) if _once(span, question)]


def subject_in(question: str, name: str | None) -> str | None:
    """How ``question`` names what it is about, as it stands there, exactly once: by ``name`` or the longest part of it,
    else by a description ("author born in Kuwait City, Kuwait on 08/09/1956"); None where neither does."""
    for part in _parts(name.split() if name else []):
        if _once(part, question):
            return part
    described = _DESCRIPTION.search(question)
    found = described.group(0).rstrip("?. ") if described else None
    return found if found and question.count(found) == 1 else None


def _once(span: str, question: str) -> bool:
    return len(re.findall(rf"(?<!\w){re.escape(span)}(?!\w)", question)) == 1 == question.count(span)


def _possessor(name: str) -> str:
    return re.sub(r"['’]s?(?=\s|$)", "", name)


def _names(text: str) -> Iterable[str]:
    for match in _NAME.finditer(text):
        words = _possessor(match.group(0)).split()
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
