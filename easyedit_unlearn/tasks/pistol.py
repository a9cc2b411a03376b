"""PISTOL (arXiv 2406.16810): fictitious contracts in a graph, twenty questions an edge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from easyedit_unlearn.components import Task
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.tasks.data import data_file, read_json_list, texts_of
from easyedit_unlearn.tasks.factual import DataOptions
from easyedit_unlearn.tasks.fields import file_name
from easyedit_unlearn.tasks.subjects import ranked_names, standing_once
from easyedit_unlearn.types import ForgetSample
from easyedit_unlearn.yamls import load_yaml

FILE = "pistol_sample1.json"


class PistolOptions(DataOptions):
    """``edge``: this contract alone, such as ``A_B``, or several, ``A_B+B_D``. ``without``: all but these (to retain,
    where ``A_B`` is to be forgotten). ``file``: another sample's, in the same folder."""

    file: str = FILE
    edge: str | None = None
    without: str | None = None


class Pistol(Task):
    """Questions and answers as published, in their order; a model knows them only when it was taught them.

    A question's subject is the party of the contract that most questions about it name. Its two rephrases were written
    for this project.
    """

    name = "pistol"
    Options = PistolOptions

    def samples(self, options: PistolOptions) -> Sequence[ForgetSample]:
        path = data_file(self.name, f"pistol/{file_name(options.file)}", options.data_dir)
        rows = [
            texts_of(row, ("edge", "question", "answer"), f"{path}, item {n}")
            for n, row in enumerate(read_json_list(path))
        ]
        edges: dict[str, list[tuple[str, str]]] = {}
        for edge, question, answer in rows:
            edges.setdefault(edge, []).append((question, answer))
        taken, left = (named.split("+") if named else [] for named in (options.edge, options.without))
        for key, named in (("edge", taken), ("without", left)):
            for edge in named:
                if edge not in edges:
                    raise DataError(
                        f"task {self.name}: there is no edge {edge!r} to take for '{key}': {', '.join(edges)}"
                    )
        chosen = [edge for edge in edges if (edge in taken or not taken) and edge not in left]
        return [sample for edge in chosen for sample in _contract(edge, edges[edge])]


def rephrased(question: str) -> tuple[str, ...]:
    """The question in two other wordings; none for a question of another form than those of sample 1."""
    for pattern, wordings in _wordings():
        if found := pattern.fullmatch(question):
            return tuple(wording.format(**found.groupdict()) for wording in wordings)
    return ()


@cache
def _wordings() -> list[tuple[re.Pattern[str], list[str]]]:
    forms: dict[str, list[str]] = load_yaml(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return [(_pattern(form), wordings) for form, wordings in forms.items()]


def _pattern(form: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(form)).replace(r"\*", ".*?"))


def _contract(edge: str, pairs: Sequence[tuple[str, str]]) -> list[ForgetSample]:
    names = ranked_names([text for pair in pairs for text in pair])
    return [
        ForgetSample(
            id=f"pistol-{edge}-{number}",
            question=question,
            answer=answer,
            subject=standing_once(question, names),
            rephrases=rephrased(question),
            extras={"edge": edge},
        )
        for number, (question, answer) in enumerate(pairs, start=1)
    ]
