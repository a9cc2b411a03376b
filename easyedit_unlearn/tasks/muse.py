"""MUSE (arXiv 2407.06460): knowledge questions on news and books, for models that were trained on the texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from easyedit_unlearn.components import Task
from easyedit_unlearn.tasks.data import data_file
from easyedit_unlearn.tasks.factual import DataOptions
from easyedit_unlearn.tasks.records import published
from easyedit_unlearn.types import ForgetSample

_FILES = {"news": "bbc", "books": "hp"}
_SPLITS = {"forget": "forget", "retain": "retain2"}


class MuseOptions(DataOptions):
    corpus: Literal["news", "books"] = "news"
    subset: Literal["forget", "retain"] = "forget"


class Muse(Task):
    """KnowMem's questions and answers as published, in their order; of one that stands twice the first."""

    name = "muse"
    Options = MuseOptions

    def samples(self, options: MuseOptions) -> Sequence[ForgetSample]:
        file = f"muse/{_FILES[options.corpus]}_knowmem_{_SPLITS[options.subset]}_qa.json"
        first: dict[str, ForgetSample] = {}
        for sample in published(data_file(self.name, file, options.data_dir)):
            first.setdefault(sample.key, sample)
        return list(first.values())
