"""Does a reply say nothing at all: empty, in circles, no language, or another one than it was asked in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from easyedit_unlearn.evaluation.judging.languages import LATIN, language_of
from easyedit_unlearn.evaluation.judging.refusals import refusal_kind
from easyedit_unlearn.evaluation.judging.thoughts import answer_of
from easyedit_unlearn.evaluation.judging.words import plain, script_of, words_of

_LOOP = re.compile(r"(.{1,60}?)\1{3,}\Z", re.DOTALL)
"""A text that ends in four times the same."""
_RUN = re.compile(r"\b(\w+)(?:\W+\1\b){5,}")
"""A word six times on end."""
_SENTENCE = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])(?<!\b[A-Z]\.)\s*|\n+")
"""After a sentence, not after an initial."""
_WORD = re.compile(r"\w+")
_SENTENCE_WORDS = 4
_FEWEST = 8
"""Words; of fewer, nobody can say that they are in circles or no language."""
_LEAST_NEW = 0.4
"""Share of different words below which a text goes in circles."""
_LEAST_BOUND = 0.12
"""Share of words that bind others (articles, prepositions, pronouns), below which English words are no English."""
_MOST_SIGNS = 0.45
_BINDING = frozenset(
    "a an the of in on at by for to with from as is was are were be been being it its he she they his her their this "
    "that these those and or but not no which who whom whose what when where how why if than then there has have had "
    "do does did can could will would may might must should i you we my your our me us them him also about into over "
    "after before between during through under more most such known called".split()
)


def is_babble(reply: str, question: str | None = None) -> bool:
    """True if what a reply says, without what it thinks, says nothing.

    That is: no letter or digit at all; the question again; the same over and over (a word six times on end); words that
    no sentence binds, or pieces of words, of several scripts, and of signs; or another language than ``question``'s.
    Where its first sentence says something, it does, whatever follows: a base model goes on until it is stopped. Not
    babble is what refuses, in any language, and what is so short that it may be an answer.
    """
    said = answer_of(reply).strip()
    if not any(char.isalnum() for char in said):
        return True
    if refusal_kind(said) is not None:
        return False
    if _RUN.match(plain(said)):
        return True
    said = opening(said, words_of(question or ""))
    if not said:
        return True
    return in_circles(said) or is_salad(said) or (bool(question) and in_another_language(said, str(question)))


def opening(text: str, question: Sequence[str] = ()) -> str:
    """The first sentences, until they have a few words, each the first time it comes; without those that only repeat
    the words of the question."""
    parts = list(dict.fromkeys(part.strip() for part in _SENTENCE.split(text) if part.strip()))
    if question and words_of(parts[0]) == list(question):
        parts = [part for part in parts if words_of(part) != list(question)[: len(words_of(part))]]
    if not parts:
        return ""
    if len(parts) > 1 and parts[0].startswith(parts[-1]):
        parts.pop()  # cut off within one more time
    begun = parts[:1]
    for part in parts[1:]:
        if len(_WORD.findall(" ".join(begun))) >= _SENTENCE_WORDS:
            break
        begun.append(part)
    return " ".join(begun)


@lru_cache(maxsize=16384)
def in_circles(text: str) -> bool:
    """The same words, or letters, over and over."""
    folded = plain(text)
    loop = _LOOP.search(folded)
    if (loop and len(loop.group(0)) >= 12) or _RUN.search(folded):
        return True
    words = _WORD.findall(folded)
    return len(words) >= 2 * _FEWEST and len(set(words)) < _LEAST_NEW * len(words)


@lru_cache(maxsize=16384)
def is_salad(text: str) -> bool:
    """Words and signs that make no sentence."""
    letters = [char for char in text if char.isalpha()]
    dense = [char for char in text if not char.isspace()]
    if len(dense) > 20 and sum(not char.isalnum() for char in dense) > _MOST_SIGNS * len(dense):
        return True
    scripts = (
        {"LATIN"}
        if text.isascii()
        else {script_of(char) for char in letters if unicodedata.category(char) != "Lm"} - {""}
    )
    if len(scripts - {"HIRAGANA", "KATAKANA"}) > 2:
        return True
    words = _WORD.findall(plain(text))
    if len(words) < 2 * _FEWEST or language_of(text) != "en" or scripts != {"LATIN"}:
        return False
    return sum(word in _BINDING for word in words) < _LEAST_BOUND * len(words)


def in_another_language(text: str, question: str) -> bool:
    """Where both are long enough to tell, and neither is asked for nor a name: a reply of a few words may be one."""
    asked, said = language_of(question), language_of(text)
    if asked == said or (len(question.split()) < 3 and asked == "en"):
        return False
    if asked in LATIN and said in LATIN:
        return len(text.split()) >= 2 * _FEWEST
    return len([char for char in text if char.isalpha()]) >= 2 * _FEWEST
