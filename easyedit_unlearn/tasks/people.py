"""Real people and their neighbours (arXiv 2410.08109): known from pretraining, if at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from easyedit_unlearn.components import Task
from easyedit_unlearn.tasks.data import data_file
from easyedit_unlearn.tasks.factual import DataOptions
from easyedit_unlearn.tasks.records import published
from easyedit_unlearn.tasks.subjects import subject_in
from easyedit_unlearn.types import ForgetSample

_NAMED = {"subject": "name", "rephrases": "paraphrased_question", "aliases": "golden_answer"}


class PeopleOptions(DataOptions):
    subset: Literal["forget", "neighbor"] = "forget"


class People(Task):
    """Questions and answers as published, in their order, with the paraphrased question; the subject is the person, or
    the part of the name that stands in the question."""

    name = "people"
    Options = PeopleOptions

    def samples(self, options: PeopleOptions) -> Sequence[ForgetSample]:
        path = data_file(self.name, f"people/real_world_{options.subset}_perturbed.json", options.data_dir)
        rows = published(path, _NAMED)
        return [replace(row, subject=subject_in(row.question, row.subject)) for row in rows]
