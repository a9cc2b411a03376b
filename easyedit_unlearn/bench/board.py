"""From the outcomes of cells to one set of results: rows of several seeds become one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from easyedit_unlearn.bench.cells import Outcome
from easyedit_unlearn.bench.grid import Cell
from easyedit_unlearn.rows import DESCRIPTION, Results

Row = Mapping[str, Any]


def results_of(outcomes: Sequence[tuple[Cell, Outcome]]) -> Results:
    """By setting the untouched model, then its methods; a failed cell is a row that says why."""
    befores: dict[str, Row] = {}
    seeds: dict[tuple[str, str, str], list[Row]] = {}
    results, rows = Results(), []
    for cell, outcome in outcomes:
        if outcome["status"] != "done":
            rows.append(_failed_row(cell, outcome["error"]))
            continue
        befores.setdefault(cell.setting, {**outcome["before"], "label": "before", "size": cell.size})
        row = {**outcome["row"], "size": cell.size, "hparams": cell.hparams}
        seeds.setdefault((cell.setting, row["label"], f"{row['engine']} {cell.hparams}"), []).append(row)
        if len(seeds[cell.setting, row["label"], f"{row['engine']} {cell.hparams}"]) == 1:
            results.samples += outcome["samples"]  # of the first seed: the browser shows what a method says, once
    found = sorted(map(over_seeds, seeds.values()), key=lambda row: -(row.get("balance") or 0.0))
    results.rows = [dict(row) for row in (*befores.values(), *found, *rows)]
    return results


def over_seeds(rows: Sequence[Row]) -> Row:
    """One row of several that differ in their seed alone: means, and under ``spread`` the standard deviation of each
    number. Intervals are the first seed's: the facts are the same, so that more seeds do not make them narrower."""
    first = rows[0]
    if len(rows) == 1:
        return {**first, "seeds": [first["seed"]]}
    numbers = {key: [row[key] for row in rows] for key, value in first.items() if _measured(key, value)}
    whole = {key: values for key, values in numbers.items() if all(_measured(key, value) for value in values)}
    return {
        **first,
        **{key: fmean(values) for key, values in whole.items()},
        "seeds": [row["seed"] for row in rows],
        "spread": {key: stdev(values) for key, values in whole.items()},
    }


def _measured(key: str, value: Any) -> bool:
    counted = key.startswith("n_") or key in ("seed", "size")
    return isinstance(value, int | float) and not isinstance(value, bool) and not counted


def _failed_row(cell: Cell, error: str) -> Row:
    method = cell.hparams.split("/")[0]
    return {
        **DESCRIPTION, "method": method, "label": f"{method}: failed", "setting": cell.setting, "size": cell.size,
        "seed": cell.seed, "model": cell.label, "hparams": cell.hparams, "stopped": error, "intervals": {},
        "versions": {}, "means": {}, "overall": {},
    }  # fmt: skip


def versions_of(rows: Iterable[Row]) -> dict[str, str]:
    """Of the first row that ran."""
    return next((dict(row["versions"]) for row in rows if row.get("versions")), {})
