"""Judge stored replies anew, without a model: when the rules of judging change, tables need not be run again."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from easyedit_unlearn.components import Metric
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.aggregate import paired, summarise, whole
from easyedit_unlearn.evaluation.judging import gives_answer
from easyedit_unlearn.results import Record, Results, Row, measure, row_of
from easyedit_unlearn.types import Evaluation, ForgetSample, Observation, Scored

_COUNTED = ("answer_rate", "refusal_rate", "babble_rate")
_GROUPS = ("forget", "rephrase", "retain", "holdout")


@dataclass(frozen=True)
class Move:
    """A count of a row that is another one now."""

    label: str
    column: str
    before: str
    after: str


def read_results(path: Path) -> Results:
    """``results.json`` of a folder that ``run``, ``evaluate``, ``demo`` or ``bench`` wrote. Raises DataError."""
    file = path / "results.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return Results(**found)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; name a folder that run, evaluate or bench wrote") from None
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file}: is no results.json of ours: {str(error).splitlines()[0]}") from None


def rejudged(results: Results, metrics: Sequence[Any]) -> tuple[Results, list[Move]]:
    """The same results with every metric of replies (``Metric.of_reply``) and what is known computed anew, and all
    counts that moved. A row whose replies are not stored (a smaller size of a growing set) stays as it was."""
    known = [metric for metric in metrics if isinstance(metric, Metric)]
    made, moves = copy.deepcopy(results), []
    for row in made.rows:
        records = [one for one in made.samples if _of(one, row)]
        if not records or row.get("stopped") or row["n_forget"] != _forgotten(records):
            continue
        new = _row(row, records, known)
        moves += _moved(row, new)
        row.update(cast(Any, new))
    befores = [made.before, *(row for row in made.rows if row["method"] == "before")]
    for before in (row for row in befores if row):
        first = _first_method(made.samples, before)
        if first:
            new = _row(before, first, known, side="before")
            moves += _moved(before, new)
            before.update(cast(Any, new))
    return made, moves


def _row(row: Row, records: Sequence[Record], metrics: Sequence[Metric], side: str = "after") -> Row:
    known = _known(records)
    sides = {one: _evaluation(records, metrics, one) for one in ("before", "after")}
    mine = sides[side]
    for record, *scored in zip(records, *(found.scored for found in sides.values() if found), strict=True):
        for name, one in zip((name for name, found in sides.items() if found), scored, strict=True):
            record[f"scores_{name}"] = dict(one.scores)  # type: ignore[literal-required]
        record["known"] = record["id"] in known
    assert mine is not None  # noqa: S101  a row has replies
    keys = frozenset(s.observation.sample.key for s in mine.scored if s.observation.sample.id in known)
    means = {**(row.get("means") or {}), **whole(mine, metrics, (), None)["means"]}
    both = side == "after" and sides["before"] is not None
    change = paired(cast(Evaluation, sides["before"]), mine, metrics) if both else row.get("change")
    counted: Row = {"n_known": len({one["id"] for one in records if one["group"] == "forget"} & known)}
    return row_of(counted, summarise(mine, metrics, keys), {"means": means, "change": change})


def _evaluation(records: Sequence[Record], metrics: Sequence[Metric], side: str) -> Evaluation | None:
    """None where a model was evaluated as it stands: there is no before."""
    if any(one.get(side) is None for one in records):
        return None
    scored = []
    for record in records:
        stored: Mapping[str, float | None] = record.get(f"scores_{side}") or {}  # type: ignore[assignment]
        target = record.get("target") if side == "after" else None
        seen = Observation(
            _sample(record, records), record["group"], record["question"], str(record[side]),  # type: ignore[literal-required]
            targets=(target,) if target else (),
        )  # fmt: skip
        new = {} if seen.sample.is_text else {m.name: m.score(seen) for m in metrics if m.of_reply}
        scores = {m.name: new.get(m.name, stored.get(m.name)) for m in metrics}
        scored.append(Scored(seen, {**stored, **scores}))
    return Evaluation(scored, float("nan"))


def _sample(record: Record, records: Sequence[Record]) -> ForgetSample:
    """The fact: of a rephrase, the one it asks for in other words."""
    question = record["question"]
    if record["group"] == "rephrase":
        own = (one["question"] for one in records if one["group"] == "forget" and one["id"] == record["id"])
        question = next(own, question)
    return ForgetSample(record["id"], question, record["answer"], tuple(record.get("aliases") or ()))


def _known(records: Sequence[Record]) -> set[str]:
    """Ids of what was answered before, or, where there is no before, what was recorded as known."""
    return {
        one["id"]
        for one in records
        if one["group"] != "rephrase"
        and (
            one["known"]
            if one.get("before") is None
            else gives_answer(str(one["before"]), one["question"], (one["answer"], *(one.get("aliases") or ())))
        )
    }


def _of(record: Record, row: Row) -> bool:
    return record["method"] == row["label"] and record.get("setting") == row.get("setting")


def _forgotten(records: Sequence[Record]) -> int:
    return sum(one["group"] == "forget" for one in records)


def _first_method(samples: Sequence[Record], before: Row) -> list[Record]:
    """The records of one method of the untouched model's setting: they hold what it said."""
    here = [one for one in samples if one.get("setting") == before.get("setting") and one.get("before") is not None]
    return [one for one in here if one["method"] == here[0]["method"]]


def _moved(row: Row, new: Row) -> list[Move]:
    found = []
    for column in (f"{group}_{name}" for group in _GROUPS for name in _COUNTED):
        n = [measure(one, f"n_prompts_{column.split('_')[0]}") or 0 for one in (row, new)]
        rates = [measure(one, column) for one in (row, new)]
        shown = [f"{round(rate * of)}/{of}" if rate is not None else "-" for rate, of in zip(rates, n, strict=True)]
        if shown[0] != shown[1] and column in row:
            found.append(Move(row["label"], column, *shown))
    return found
