"""A person by part of the name: the surname alone, where a question asks for a person."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from easyedit_unlearn.evaluation.judging.words import is_unspaced, plain, words_of

_WHO = re.compile(
    r"\b(who|whom|whose|by whom|(?:which|what) (?:\w+ )?(?:\w+ )?(?:author|writer|poet|painter|artist|composer|"
    r"inventor|scientist|physicist|director|president|philosopher|playwright|novelist|person|man|woman|explorer|astronaut|king|"
    r"queen|actor|actress|singer|musician|founder|leader|architect|chemist|mathematician|general|emperor)|"
    r"name of the (?:\w+ )?(?:author|writer|painter|person|man|woman)|"
    r"wer|wen|wem|wessen|von wem|qui|quien|quienes|chi|quem|wie|wiens|kto|kim|kimin)\b"
    r"|\b(кто|кого|кому|кем|чей|чья)\b|من|कौन|किसने|किस|谁|誰|だれ|누가|누구"
)
_PARTICLES = frozenset("da de del della der den di do dos du el la le of van von bin ibn al ten ter zu y e".split())
_BY_GIVEN = frozenset("leonardo michelangelo raphael rembrandt dante galileo napoleon vincent frida".split())
"""Whom everybody calls by the given name."""
_AFTER = frozenset("jr sr ii iii iv v inc ltd corp co company group university".split())
_TITLES = frozenset(
    "mr mrs ms miss dr sir lady lord prof professor president king queen pope saint st author novelist writer poet "
    "painter artist composer playwright scientist physicist the by it is was a an and but in of that this answer he "
    "she from to".split()
)
_WORD = re.compile(r"[^\W\d_]+(?:[-'\u2019](?=[^\W\d_]{2})[^\W\d_]+)*")


def asks_for_a_person(question: str) -> bool:
    """True where the question word, in any of the languages known here, asks for a person."""
    return _WHO.search(plain(question)) is not None


def names_person(reply: str, question: str, answer: str) -> bool:
    """True if the question asks for a person and ``reply`` gives ``answer``, a name, by its last part alone.

    The last part with a capital, without another person's name before it ("Charlotte Brontë" is not Emily) and no
    further name after it. Where the question holds it already, the first part counts instead.
    """
    if not asks_for_a_person(question):
        return False
    parts = _parts(answer)
    if parts is None:
        return False
    given, surname = parts
    known = set(words_of(question))
    if plain(surname) in known:
        return bool(given) and plain(given[0]) not in known and _stands(reply, given[0], [*given, surname])
    by_given = bool(given) and plain(given[0]) in _BY_GIVEN and _stands(reply, given[0], [*given, surname])
    return by_given or _stands(reply, surname, given)


@lru_cache(maxsize=8192)
def _parts(answer: str) -> tuple[tuple[str, ...], str] | None:
    """The given names and the surname; None where ``answer`` is no name of two to five words."""
    words = [word for word in _WORD.findall(_bare(answer)) if plain(word) not in _AFTER]
    if not 2 <= len(words) <= 6 or any(char.isdigit() for char in answer) or answer.rstrip().endswith((".", "?")):
        return None
    caseless = not any(word[0].isupper() or word[0].islower() for word in words)
    if not caseless and any(not word[0].isupper() and word not in _PARTICLES for word in words):
        return None
    if len(words[-1]) < 2 or plain(words[0]) in ("the", "a"):
        return None
    return tuple(words[:-1]), words[-1]


def _stands(reply: str, name: str, others: tuple[str, ...] | list[str]) -> bool:
    """True if ``name`` stands somewhere in ``reply`` as a name that goes with ``others`` or with none."""
    if is_unspaced(name):
        return name in reply
    text = _bare(reply)
    words = [(match.group(0), match) for match in _WORD.finditer(text)]
    own = {plain(one) for one in others}
    for number, (word, match) in enumerate(words):
        if word.removesuffix("'s").removesuffix("\u2019s") not in (name, f"{name}s"):
            continue
        before: list[str] = []
        for earlier, at in reversed(words[:number]):
            gap = text[at.end() : (words[number - len(before)][1]).start()]
            if not re.fullmatch(r"[ .]{1,3}", gap) or not (earlier[0].isupper() or earlier in _PARTICLES):
                break
            before.append(plain(earlier))
        strange = [one for one in before if one not in _TITLES | _PARTICLES]
        goes = not strange or any(one in own or any(one[0] == other[0] and 1 in (len(one), len(other))
                                                    for other in own) for one in strange)  # fmt: skip
        after = text[match.end() :]
        if goes and not re.match(r" [A-Z][a-z]", after):
            return True
    return False


def _bare(text: str) -> str:
    """Without accents, but with its capitals."""
    if text.isascii():
        return text
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
