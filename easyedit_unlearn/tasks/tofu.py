"""TOFU (arXiv 2401.06121): 200 fictitious authors, 20 questions each, known only to a model fine-tuned on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from easyedit_unlearn.components import Task
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.tasks.data import data_file
from easyedit_unlearn.tasks.factual import DataOptions
from easyedit_unlearn.tasks.records import published
from easyedit_unlearn.tasks.subjects import named_span, shared_name, subject_in
from easyedit_unlearn.types import ForgetSample

AUTHOR = 20
"""Questions about one author, one after the other."""
_PERTURBED = {
    "forget01": "forget01_perturbed",
    "forget05": "forget10_perturbed",
    "forget10": "forget10_perturbed",
    "retain90": "retain_perturbed",
}
_ALONE = ("real_authors", "world_facts")
"""What a model knows from pretraining: single questions, each with wrong answers beside it."""


class TofuOptions(DataOptions):
    subset: Literal["forget01", "forget05", "forget10", "retain90", "real_authors", "world_facts"] = "forget01"


class Tofu(Task):
    """Questions and answers as published, in their order, with the paraphrased question where one is published. Of a
    question that is asked about several authors in the same words, the first stays: nobody can tell which is meant.

    A question's subject is the author's name, or the part of it that stands there (see ``tasks.subjects``). The subsets
    ``real_authors`` and ``world_facts`` are for what must stay known.
    """

    name = "tofu"
    Options = TofuOptions

    def samples(self, options: TofuOptions) -> Sequence[ForgetSample]:
        if options.subset in _ALONE:
            path = data_file(self.name, f"tofu/{options.subset}_perturbed.json", options.data_dir)
            return [replace(row, subject=named_span(row.question)) for row in published(path)]
        path = data_file(self.name, f"tofu/{options.subset}.jsonl", options.data_dir)
        rows = published(path)
        path = data_file(self.name, f"tofu/{_PERTURBED[options.subset]}.jsonl", options.data_dir)
        further = {sample.question: sample.extras for sample in published(path)}
        blocks = [rows[start : start + AUTHOR] for start in range(0, len(rows), AUTHOR)]
        samples = [sample for block in blocks for sample in _with_subjects(block, further, path)]
        return list({sample.key: sample for sample in reversed(samples)}.values())[::-1]


def _with_subjects(
    block: Sequence[ForgetSample], further: Mapping[str, Mapping[str, Any]], path: Path
) -> list[ForgetSample]:
    author = shared_name([text for row in block for text in (row.question, row.answer)])
    return [_sample(row, author, further.get(row.question, {}), path) for row in block]


def _sample(row: ForgetSample, author: str | None, extras: Mapping[str, Any], path: Path) -> ForgetSample:
    rephrased = extras.get("paraphrased_question")
    if rephrased is not None and not (isinstance(rephrased, str) and rephrased.strip()):
        raise DataError(f"{path}: 'paraphrased_question' of {row.question!r} must be text")
    return ForgetSample(
        id=row.id,
        question=row.question,
        answer=row.answer,
        subject=subject_in(row.question, author),
        rephrases=(rephrased,) if rephrased else (),
        extras=dict(extras),
    )
