"""The Factual set of LUNAR (arXiv 2502.07218): 169 facts that language models know from pretraining."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from easyedit_unlearn.components import Options, Task
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.tasks.data import data_file, read_json_list, texts_of
from easyedit_unlearn.types import ForgetSample

FILE = "pistol/factual_data.json"


class DataOptions(Options):
    data_dir: Path | None = None


class Factual(Task):
    """Authors, places, history; questions and answers are the data set's, in its order.

    What it lacks for editing lies beside this module, written for this project: each question's subject, two rephrases,
    and other spellings of the answer.
    """

    name = "factual"
    Options = DataOptions

    def samples(self, options: DataOptions) -> Sequence[ForgetSample]:
        path = data_file(self.name, FILE, options.data_dir)
        rows, notes = read_json_list(path), _notes()
        if len(rows) != len(notes):
            raise DataError(f"{path}: has {len(rows)} questions; this version knows the set of {len(notes)}")
        return [_sample(row, note, f"{path}, item {n}") for n, (row, note) in enumerate(zip(rows, notes, strict=True))]


def _notes() -> list[dict[str, Any]]:
    lines = Path(__file__).with_name("factual.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _sample(row: dict[str, Any], note: dict[str, Any], place: str) -> ForgetSample:
    question, answer = texts_of(row, ("question", "answer"), place)
    return ForgetSample(
        id=note["id"],
        question=question,
        answer=answer,
        aliases=tuple(note["aliases"]),
        subject=note["subject"],
        rephrases=tuple(note["rephrases"]),
        extras={"edge": row.get("edge")},
    )
