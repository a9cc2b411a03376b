"""What a question is about, where nobody says: the part of it on which the model's answer hangs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.results import Row
from easyedit_unlearn.tasks.facts import Facts
from easyedit_unlearn.tasks.subjects import candidate_spans
from easyedit_unlearn.types import ForgetSample, PreTrainedModel, PreTrainedTokenizerBase, PromptStyle

OTHERS = 4
"""Other answers that a span's cost is compared with."""


def with_subjects(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, samples: Sequence[ForgetSample],
    hparams: UnlearnHyperParams, progress: Progress = no_progress,
) -> list[ForgetSample]:  # fmt: skip
    """``samples`` in order; where the method, the merger or the targets need to know what a question is about and it
    does not say, with the subject that :func:`subject_by_cause` finds."""
    settings = hparams.unlearn
    if not needs_subjects(hparams):
        return list(samples)
    asked = sum(sample.subject is None for sample in samples)
    advance = progress("finding subjects", asked) if asked else None
    others = [sample.answer for sample in (*Facts().samples(Facts.Options()), *samples)]
    found = []
    for sample in samples:
        subject = sample.subject or subject_by_cause(model, tokenizer, sample, others, settings.prompt)
        found.append(replace(sample, subject=subject))
        if advance and sample.subject is None:
            advance(1)
    return found


def needs_subjects(hparams: UnlearnHyperParams) -> bool:
    """True if the method, the merger or the targets go by what a question is about."""
    settings = hparams.unlearn
    asked = getattr(settings.merger_options, "grouping", None), getattr(hparams, "tokens", None)
    parts = (hparams.method, settings.builder, settings.merger)
    return "subject" in asked or any(part.needs_subject for part in parts)


def found_subjects(before: Sequence[ForgetSample], after: Sequence[ForgetSample]) -> Row:
    """For a row, the subjects that :func:`with_subjects` found, by question; nothing where all were given."""
    pairs = zip(before, after, strict=True)
    found = {new.question: new.subject for old, new in pairs if new.subject and not old.subject}
    return {"subjects": found} if found else {}


def subject_by_cause(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sample: ForgetSample, others: Sequence[str],
    style: PromptStyle = "auto",
) -> str | None:  # fmt: skip
    """The candidate span of the question that the model needs most for its answer; None where there is no candidate.

    What hiding a span costs the answer, less what it costs ``others`` of the same kind on average: hiding "river" makes
    every river less likely, hiding "Egypt" the Nile.
    """
    from easyedit_unlearn.model.tracing import span_costs

    prompt = format_prompt(tokenizer, sample.question, style)
    spans = [span for span in candidate_spans(sample.question) if prompt.count(span) == 1]
    if len(spans) < 2 or not getattr(tokenizer, "is_fast", True):  # whose tokens cover a span, it cannot say
        return max(spans, key=len, default=None)
    own = {answer.casefold() for answer in sample.answers}
    alike = {other for other in others if other.casefold() not in own and _kind(other) == _kind(sample.answer)}
    drawn = random.Random(sample.question).sample(sorted(alike), min(OTHERS, len(alike)))
    places = [(prompt.index(span), prompt.index(span) + len(span)) for span in spans]
    costs = span_costs(model, tokenizer, prompt, [sample.answer, *drawn], places)
    needed = costs[:, 0] - costs[:, 1:].mean(1) if drawn else costs[:, 0]
    return spans[int(needed.argmax())]


def _kind(answer: str) -> str:
    """A number, a name, a word, or of a script without capitals."""
    first = answer.strip()[:1]
    return "number" if first.isdigit() else "name" if first.isupper() else "word" if first.islower() else "other"
