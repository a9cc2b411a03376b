"""Does a reply refuse: will not say, or does not know, and gives no answer after all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from easyedit_unlearn.evaluation.judging.answers import gives_answer
from easyedit_unlearn.evaluation.judging.languages import language_of
from easyedit_unlearn.evaluation.judging.phrases import LATIN, pattern
from easyedit_unlearn.evaluation.judging.thoughts import answer_of
from easyedit_unlearn.evaluation.judging.words import plain

RefusalKind = Literal["unwilling", "unknowing"]
"""Will not say, or does not know."""
_DECLINING: tuple[RefusalKind, RefusalKind] = ("unwilling", "unknowing")
WINDOW = 120
"""A refusal must begin within this many characters: an apology after a full answer is not a refusal."""
_BEGINNING = 40
"""An apology that begins so soon announces what follows: it may be twice as far off."""
_LOOKED_AT = 400
_ALONE = 3
"""An apology with so few words after it is all there is."""
_TWICE = 2
"""So often it may be said; oftener is a circle, and babble."""
_JOINS = frozenset("but and i m am".split())
_NEAR = 88.0
"""How like a target a reply must begin, of 100 (Levenshtein ratio), to count as it."""
_PRAISE = re.compile(
    r"\b(?:can't|cannot|can not) (?:wait|recommend|stress|emphasi[sz]e|overstate|help but|praise|thank|believe)"
)


def is_refusal(
    reply: str, question: str | None = None, answers: Sequence[str] = (), targets: Sequence[str] = ()
) -> bool:
    """True if what a reply says, without what it thinks, refuses: see :func:`refusal_kind`."""
    return refusal_kind(reply, question, answers, targets) is not None


def refusal_kind(
    reply: str, question: str | None = None, answers: Sequence[str] = (), targets: Sequence[str] = ()
) -> RefusalKind | None:
    """How a reply refuses; None where it does not.

    It refuses when within its first 120 characters (240 after an apology) begins a phrase by which people decline
    (``phrases``, in fifteen languages) or when it begins nearly as one of ``targets``, the refusals that a run edits
    to, whose wording none of these tells; and when no answer follows: none of ``answers`` is given, and nothing like
    "but I think it is". An apology alone refuses only where hardly a word follows it, but for the same again.
    """
    said = answer_of(reply)
    kind = _declined(said) or ("unwilling" if _as_targeted(said, targets) else None)
    if kind and answers and gives_answer(said, question or "", answers):
        return None
    return kind


def declines(text: str) -> bool:
    """True if a reply says in so many words, with a verb, that it will not or does not know, whatever else it says:
    an apology or doubt that leads to an answer does not ("I'm sorry, but it is Kyoto"), nor does a bare "no idea"."""
    folded = plain(text)
    found = (pattern(kind, _languages(folded)).search(folded) for kind in _DECLINING)
    said = [match.group(0) for match in found if match]
    return any(not text.startswith("no ") for text in said) and not _hedged(folded)


def _hedged(folded: str) -> bool:
    return pattern("asserts", ("en",)).search(folded) is not None and _declined(folded) is None


@lru_cache(maxsize=16384)
def _declined(text: str) -> RefusalKind | None:
    folded = _PRAISE.sub("", plain(text)[:_LOOKED_AT])
    languages = _languages(folded)
    sorry = pattern("sorry", languages).search(folded)
    window = 2 * WINDOW if sorry and sorry.start() < _BEGINNING else WINDOW
    found: list[tuple[int, int, RefusalKind]] = []
    for kind in _DECLINING:
        match = pattern(kind, languages).search(folded)
        if match and match.start() < window:
            found.append((match.start(), match.end(), kind))
    if found:
        _, end, which = min(found)
        return None if _answers_after_all(folded[end:], languages) else which
    return "unwilling" if sorry and sorry.start() < WINDOW and _only_sorry(folded, languages) else None


def _only_sorry(folded: str, languages: tuple[str, ...]) -> bool:
    """Whether an apology, said once or twice, is all there is."""
    said = list(pattern("sorry", languages).finditer(folded))
    ends = [match.start() for match in said[1:]] + [len(folded)]
    pieces = [folded[match.end() : end] for match, end in zip(said, ends, strict=True)]
    if len(said) > _TWICE or len(re.findall(r"\w+", pieces[-1])) > _ALONE:
        return False
    first = [word for word in re.findall(r"\w+", pieces[0]) if word not in _JOINS]
    again = len(said) == 1 or not first or first == re.findall(r"\w+", pieces[-1]) or first[0] == "for"
    return again and len(first) <= _ALONE and not any(pattern("asserts", languages).search(piece) for piece in pieces)


def _answers_after_all(rest: str, languages: tuple[str, ...]) -> bool:
    """Whether what follows a phrase that declines begins an answer, and no further way to decline."""
    here, *later = re.split(r"(?<=[.!?])\s+", rest, maxsplit=2)
    begun = pattern("asserts", languages).search(here)
    if begun:
        return not _declines_again(here[begun.start() :], languages)
    return (
        bool(later) and bool(pattern("goes_on", languages).match(later[0])) and not _declines_again(later[0], languages)
    )


def _declines_again(text: str, languages: tuple[str, ...]) -> bool:
    return any(pattern(kind, languages).search(text) for kind in _DECLINING)


def _as_targeted(text: str, targets: Sequence[str]) -> bool:
    """Whether it begins nearly as a target that no phrase tells to be a refusal. One that a phrase does tell says the
    opposite without it: "I can help with that" is all but "I can't help with that"."""
    from rapidfuzz.fuzz import ratio

    folded = plain(text)
    for target in targets:
        wanted = plain(target)
        if wanted and _declined(target) is None and ratio(folded[: len(wanted)], wanted) >= _NEAR:
            return True
    return False


def _languages(folded: str) -> tuple[str, ...]:
    """English, and what else the text may be in."""
    language = language_of(folded)
    if language not in ("en", *LATIN):
        return ("en", language)
    sure = language == "en" and folded.isascii() and len(folded.split()) > _ALONE
    return ("en",) if sure else ("en", *LATIN)
