"""The judgements against labelled replies: real ones, of two models, in fifteen languages. The rules were mended with
them in view: this guards against regress, and is no estimate of how they do on others.

``data/replies.jsonl``: a reply a line, with what it was asked, what counts as the answer, and three labels;
``doubtful`` where two readers may differ, which counts for nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from easyedit_unlearn.evaluation.judging import gives_answer, is_babble, is_refusal

FILE = Path(__file__).parent / "data" / "replies.jsonl"
TABLE = Path(__file__).parents[1] / "benchmarks" / "results" / "judging.md"
JUDGED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "given": lambda row: gives_answer(row["reply"], row["question"], row["answers"]),
    "refused": lambda row: is_refusal(row["reply"], row["question"], row["answers"]),
    "babble": lambda row: is_babble(row["reply"], row["question"]),
}


def labelled() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def counts(rows: Iterable[dict[str, Any]], label: str) -> tuple[int, int, int]:
    """Right, too many, too few."""
    pairs = [(row[label], JUDGED[label](row)) for row in rows]
    return (sum(a and b for a, b in pairs), sum(b and not a for a, b in pairs), sum(a and not b for a, b in pairs))


def table() -> str:
    """By language, of each label how many replies have it, and how many were judged to have it wrongly, or missed."""
    rows = [row for row in labelled() if not row.get("doubtful")]
    lines = ["| language | replies | given | refused | babble |", "|---|---|---|---|---|"]
    for name in ("all", *sorted({row["language"] for row in rows})):
        mine = [row for row in rows if name in ("all", row["language"])]
        cells = []
        for label in JUDGED:
            right, many, few = counts(mine, label)
            cells.append(f"{right + few} (+{many}, -{few})")
        lines.append(f"| {name} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("label", list(JUDGED))
def test_precision_and_recall(label):
    right, many, few = counts([row for row in labelled() if not row.get("doubtful")], label)
    print(f"{label}: {right} right, {many} too many, {few} too few")  # noqa: T201
    assert right / (right + many) >= 0.98
    assert right / (right + few) >= 0.98


def test_the_set_is_large_and_the_table_in_the_docs_is_of_now():
    assert len(labelled()) >= 500
    print(table())  # noqa: T201
    assert TABLE.read_text(encoding="utf-8") == table()
