"""PISTOL (arXiv 2406.16810): fictitious contracts in a graph, twenty questions an edge."""

from __future__ import annotations

from collections.abc import Sequence

from easyedit_unlearn.components import Task
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.tasks.data import data_file, read_json_list, texts_of
from easyedit_unlearn.tasks.factual import DataOptions
from easyedit_unlearn.tasks.subjects import ranked_names, standing_once
from easyedit_unlearn.types import ForgetSample

FILE = "pistol/pistol_sample1.json"


class PistolOptions(DataOptions):
    """``edge``: this contract alone, such as ``A_B``. ``without``: all but this one (to retain, where ``A_B`` is to be
    forgotten)."""

    edge: str | None = None
    without: str | None = None


class Pistol(Task):
    """Questions and answers as published, in their order; a model knows them only when it was taught them.

    A question's subject is the party of the contract that most questions about it name.
    """

    name = "pistol"
    Options = PistolOptions

    def samples(self, options: PistolOptions) -> Sequence[ForgetSample]:
        path = data_file(self.name, FILE, options.data_dir)
        rows = [
            texts_of(row, ("edge", "question", "answer"), f"{path}, item {n}")
            for n, row in enumerate(read_json_list(path))
        ]
        edges: dict[str, list[tuple[str, str]]] = {}
        for edge, question, answer in rows:
            edges.setdefault(edge, []).append((question, answer))
        for key, named in (("edge", options.edge), ("without", options.without)):
            if named is not None and named not in edges:
                raise DataError(f"task {self.name}: there is no edge {named!r} to take for '{key}': {', '.join(edges)}")
        chosen = [edge for edge in edges if options.edge in (None, edge) and edge != options.without]
        return [sample for edge in chosen for sample in _contract(edge, edges[edge])]


def _contract(edge: str, pairs: Sequence[tuple[str, str]]) -> list[ForgetSample]:
    names = ranked_names([text for pair in pairs for text in pair])
    return [
        ForgetSample(
            id=f"pistol-{edge}-{number}",
            question=question,
            answer=answer,
            subject=standing_once(question, names),
            extras={"edge": edge},
        )
        for number, (question, answer) in enumerate(pairs, start=1)
    ]
