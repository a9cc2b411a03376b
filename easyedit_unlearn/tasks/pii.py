"""Private data of synthetic persons (Toward Practical PII Unlearning), for models that were taught them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from easyedit_unlearn.components import Task
from easyedit_unlearn.tasks.data import data_file
from easyedit_unlearn.tasks.factual import DataOptions
from easyedit_unlearn.tasks.fields import file_name
from easyedit_unlearn.tasks.records import published
from easyedit_unlearn.types import ForgetSample


class PiiOptions(DataOptions):
    """``file``: another file of the folder."""

    file: str = "forget1.json"


class Pii(Task):
    """Questions with five paraphrases; any of a person's private strings counts as the answer. The inverted question,
    which asks who has such an address, is an attack (``--attacks``)."""

    name = "pii"
    Options = PiiOptions

    def samples(self, options: PiiOptions) -> Sequence[ForgetSample]:
        path = data_file(self.name, f"pii/{file_name(options.file)}", options.data_dir)
        return [_sample(row) for row in published(path, {"aliases": "subject_pii"})]


def _sample(row: ForgetSample) -> ForgetSample:
    """A subject that the question does not hold letter for letter is none."""
    return row if row.subject and row.subject in row.question else replace(row, subject=None)
