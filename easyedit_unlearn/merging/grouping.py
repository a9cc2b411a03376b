"""Which samples go together, and what one request of several is made of. Pure functions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.judging.words import plain
from easyedit_unlearn.types import EditRequest, ForgetSample, Query, Target

Grouping = Literal["order", "subject", "similarity"]
Group = list[ForgetSample]
Targets = Mapping[str, Target]
"""By the sample's id."""


def grouped(samples: Sequence[ForgetSample], size: int, by: Grouping) -> list[Group]:
    """Groups of at most ``size`` that hold every sample once.

    ``order`` takes runs as given; ``subject`` brings the questions about one subject together first; ``similarity``
    begins at the first question left and adds those nearest to it (cosine of TF-IDF vectors of their words).
    """
    if by == "similarity":
        return _similar(samples, size)
    rows = list(samples)
    if by == "subject":
        first = {key: number for number, key in reversed(list(enumerate(map(_subject, rows))))}
        rows.sort(key=lambda sample: first[_subject(sample)])
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def same_subject(samples: Sequence[ForgetSample]) -> list[Group]:
    """One group a subject, in order of appearance; a sample without a subject stays alone."""
    groups: dict[str, Group] = {}
    for sample in samples:
        groups.setdefault(_subject(sample), []).append(sample)
    return list(groups.values())


def one_target(group: Sequence[ForgetSample], targets: Targets, merger: str) -> Target:
    """The target that a group shares. Raises DataError when its samples have different ones."""
    texts = list(dict.fromkeys(targets[sample.id].text for sample in group))
    if len(texts) > 1:
        ids = ", ".join(sample.id for sample in group)
        raise DataError(
            f"query merger {merger!r}: the samples {ids} would share one edit but have {len(texts)} different targets, "
            f"such as {texts[0]!r} and {texts[1]!r}; use a target builder that gives all of them one (fixed, empty) or "
            "writes one for the group (self_improve), or the merger none"
        )
    return targets[group[0].id]


def single(sample: ForgetSample, target: Target) -> EditRequest:
    """One sample as a request of its own."""
    return EditRequest(
        prompt=sample.question,
        target=target.text,
        ground_truth=sample.response or sample.answer,
        covers=(sample.id,),
        subject=sample.subject,
        rephrase=sample.rephrases[0] if sample.rephrases else None,
    )


def concatenated(
    group: Sequence[ForgetSample], targets: Targets, merger: str, position: Literal["first", "last"]
) -> EditRequest:
    """The questions as one prompt with one refusal; the subject is the first or last question's.

    It must stand once in the prompt, since editors look it up there: it is widened to the left within its question
    until it does, which leaves its last token where it was.
    """
    target = one_target(group, targets, merger)
    if len(group) == 1:
        return single(group[0], target)
    prompt = " ".join(sample.question for sample in group)
    edited = group[0 if position == "first" else -1]
    return EditRequest(
        prompt=prompt,
        target=target.text,
        ground_truth=_truths(group),
        covers=tuple(sample.id for sample in group),
        subject=None if edited.subject is None else _unique(edited, prompt, merger),
    )


def sharing(group: Sequence[ForgetSample], targets: Targets, merger: str, *, together: bool = False) -> EditRequest:
    """The first question as the request, the others as further keys of its change of value; and, ``together``, all of
    them as one prompt."""
    request = single(group[0], one_target(group, targets, merger))
    also = [Query(sample.question, sample.subject) for sample in group[1:]]
    if together and also:
        merged = concatenated(group, targets, merger, "last")
        also.append(Query(merged.prompt, merged.subject))
    covers = tuple(sample.id for sample in group)
    return replace(request, ground_truth=_truths(group), covers=covers, also=tuple(also))


def _truths(group: Sequence[ForgetSample]) -> str:
    """All replies, which end as the last one does."""
    replies = [sample.response or sample.answer for sample in group]
    return type(replies[-1])(" ".join(replies))


def _subject(sample: ForgetSample) -> str:
    return plain(sample.subject) if sample.subject else f"\x00{sample.id}"


def _unique(sample: ForgetSample, prompt: str, merger: str) -> str:
    """The subject, or the shortest span of its question that ends in it, standing once in ``prompt``."""
    question, subject = sample.question, sample.subject or ""
    end = question.rfind(subject) + len(subject)
    starts = [match.start() for match in re.finditer(r"\S+", question[: end - len(subject)])]
    for span in (subject, *(question[start:end] for start in reversed(starts))):
        if prompt.count(span) == 1:
            return span
    raise DataError(
        f"query merger {merger!r}: the subject {subject!r} of {question!r} cannot be told apart in {prompt!r}; "
        "group by another rule, or give a longer subject"
    )


def _similar(samples: Sequence[ForgetSample], size: int) -> list[Group]:
    vectors = _tfidf([sample.question for sample in samples])
    left, groups = list(range(len(samples))), []
    while left:
        seed = left[0]
        near = sorted(left[1:], key=lambda i: -sum(vectors[seed].get(w, 0.0) * v for w, v in vectors[i].items()))
        chosen = sorted([seed, *near[: size - 1]])
        left = [i for i in left if i not in chosen]
        groups.append([samples[i] for i in chosen])
    return groups


def _tfidf(texts: Sequence[str]) -> list[dict[str, float]]:
    """Unit vectors of word counts times log inverse document frequency, by word."""
    counts = [Counter(re.findall(r"\w+", plain(text))) for text in texts]
    found_in = Counter(word for count in counts for word in count)
    vectors = [{w: n * math.log(1 + len(texts) / found_in[w]) for w, n in count.items()} for count in counts]
    norms = [math.sqrt(sum(v * v for v in vector.values())) or 1.0 for vector in vectors]
    return [{w: v / norm for w, v in vector.items()} for vector, norm in zip(vectors, norms, strict=True)]
