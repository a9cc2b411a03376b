"""One fact asked for twice: questions that differ in an article, or that ask the same of one subject."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from easyedit_unlearn.evaluation.judging.words import ARTICLES, words_of
from easyedit_unlearn.types import ForgetSample

_FEW = 2
"""Subjects that an answer belongs to, at most, for it to tell a fact."""
_SMALL = re.compile(r"\d{1,2}( %)?( \w+)?")
Twins = tuple[ForgetSample, ForgetSample]
_ALIKE = 85
"""Of 100 (token sort ratio): how like two questions with one answer are, where no subject is given."""


def same_fact(one: ForgetSample, other: ForgetSample, common: Collection[tuple[str, ...]] = ()) -> bool:
    """True if two questions ask for one fact: the same words but for articles, or one answer, and the same subject or
    nearly the same words; never where each names something that the other does not.

    Of answers that many questions have, small numbers and those in ``common``, the subject alone says nothing:
    a contract has a seller and a customer, and both "15 days" and "15 pieces".
    """
    questions = _bare(one.question), _bare(other.question)
    if questions[0] == questions[1]:
        return True
    shared = {_bare(answer) for answer in one.answers} & {_bare(answer) for answer in other.answers}
    names = _names(one.question), _names(other.question)
    if not shared or (names[0] - names[1] and names[1] - names[0]):
        return False
    if not (one.subject and other.subject):
        return _alike(*questions)
    subjects = _bare(one.subject), _bare(other.subject)
    shorter, longer = sorted(subjects, key=len)
    if not shorter or not any(longer[n : n + len(shorter)] == shorter for n in range(len(longer))):
        return False
    if any(answer not in common and not _SMALL.fullmatch(" ".join(answer)) for answer in shared):
        return True
    return _alike(*(tuple(w for w in question if w not in longer) for question in questions))


def _alike(one: Sequence[str], other: Sequence[str]) -> bool:
    from rapidfuzz.fuzz import token_sort_ratio

    return bool(token_sort_ratio(" ".join(one), " ".join(other)) >= _ALIKE)


def twins(samples: Iterable[ForgetSample], others: Sequence[ForgetSample]) -> list[Twins]:
    """Each of ``samples`` that asks for the fact of one of ``others`` in other words, with the first such."""
    samples, others = ([one for one in given if not one.is_text] for given in (samples, others))
    near: dict[tuple[str, ...], list[ForgetSample]] = {}
    for other in others:
        for key in _keys(other):
            near.setdefault(key, []).append(other)
    subjects: dict[tuple[str, ...], set[str]] = {}
    for other in others:
        subjects.setdefault(_bare(other.answer), set()).add(other.subject or other.question)
    common = {answer for answer, about in subjects.items() if len(about) > _FEW}
    found: dict[str, Twins] = {}
    for sample in samples:
        for other in (other for key in _keys(sample) for other in near.get(key, ())):
            if other.key != sample.key and same_fact(sample, other, common):
                found.setdefault(sample.key, (sample, other))
    return list(found.values())


def apart(samples: Sequence[ForgetSample]) -> list[ForgetSample]:
    """Of facts that are asked for twice, the first."""
    place = {sample.key: number for number, sample in enumerate(samples)}
    later = {one.key for one, twin in twins(samples, samples) if place[one.key] > place[twin.key]}
    return [sample for sample in samples if sample.key not in later]


def _keys(sample: ForgetSample) -> list[tuple[str, ...]]:
    """What twins have in common: the question's words, or an answer's."""
    return [("?", *_bare(sample.question)), *(_bare(answer) for answer in sample.answers)]


def _names(question: str) -> set[str]:
    """Words with capitals or digits, but for the first."""
    return {word.casefold() for word in re.findall(r"[^\W_]+", question)[1:] if not word.islower()}


def _bare(text: str) -> tuple[str, ...]:
    return tuple(word for word in words_of(text) if word not in ARTICLES)
