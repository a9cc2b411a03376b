"""KnowUnDo (arXiv 2407.01920), privacy: what must be forgotten of fictitious authors, and what must stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from easyedit_unlearn.components import Task
from easyedit_unlearn.tasks.data import data_file, read_json_list, texts_of
from easyedit_unlearn.tasks.factual import DataOptions
from easyedit_unlearn.tasks.fields import file_name
from easyedit_unlearn.tasks.subjects import named_span, ranked_names, standing_once
from easyedit_unlearn.types import ForgetSample


class KnowUnDoOptions(DataOptions):
    """``file``: another file of the folder, in place of a subset's, such as ``copyright_unlearn_val.json``."""

    file: str | None = None
    subset: Literal["unlearn", "retention"] = "unlearn"


class KnowUnDo(Task):
    """The validation splits, in their order; a model knows them only when it was taught them.

    A question's subject is, of the names in it, the one that most texts of both splits share: an author,
    not an address or an award.
    """

    name = "knowundo"
    Options = KnowUnDoOptions

    def samples(self, options: KnowUnDoOptions) -> Sequence[ForgetSample]:
        files = {split: f"privacy_{split}_val.json" for split in ("unlearn", "retention")}
        if options.file is not None:
            files = {options.subset: file_name(options.file)}
        pairs = {split: self._pairs(file, options) for split, file in files.items()}
        names = ranked_names([text for split in pairs.values() for pair in split for text in pair])
        return [
            ForgetSample(
                id=f"knowundo-{options.subset}-{number}",
                question=question,
                answer=answer,
                subject=standing_once(question, names) or named_span(question),
            )
            for number, (question, answer) in enumerate(pairs[options.subset], start=1)
        ]

    def _pairs(self, file: str, options: KnowUnDoOptions) -> list[tuple[str, ...]]:
        path = data_file(self.name, f"knowundo/{file}", options.data_dir)
        return [texts_of(row, ("text", "labels"), f"{path}, item {n}") for n, row in enumerate(read_json_list(path))]
