"""From the outcomes of cells to one set of results: rows of several seeds become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from easyedit_unlearn.bench.cells import Outcome
from easyedit_unlearn.bench.grid import Cell
from easyedit_unlearn.rows import DESCRIPTION, Results

Row = Mapping[str, Any]


def results_of(outcomes: Sequence[tuple[Cell, Outcome]]) -> Results:
    """By setting the untouched model, then its methods, the best balanced first; a failed cell is a row that says why.

    Cells that differ in nothing but their seed become one row, with the samples of the first.
    """
    befores: dict[str, Row] = {}
    alike: dict[str, list[tuple[Cell, Outcome]]] = {}
    results, failures = Results(), []
    for cell, outcome in outcomes:
        if outcome["status"] != "done":
            failures.append(_failed_row(cell, outcome["error"]))
            continue
        befores.setdefault(cell.setting, {**outcome["before"], "label": "before", "size": cell.size})
        alike.setdefault(cell.without_seed(), []).append((cell, outcome))
    labels = _labels([group[0] for group in alike.values()])
    rows = []
    for label, group in zip(labels, alike.values(), strict=True):
        cell, first = group[0]
        about = {"label": label, "size": cell.size, "hparams": cell.hparams, "family": cell.family}
        rows.append({**over_seeds([outcome["row"] for _, outcome in group]), **about})
        results.samples += [{**record, "method": label} for record in first["samples"]]
    rows.sort(key=lambda row: -(row.get("balance") or 0.0))
    results.rows = [dict(row) for row in (*befores.values(), *rows, *failures)]
    return results


def _labels(cells: Sequence[tuple[Cell, Outcome]]) -> list[str]:
    """Each row's own; where two of a setting have one, also the hparams file and what was given in its place."""
    plain = [(cell.setting, outcome["row"]["label"]) for cell, outcome in cells]
    return [
        label if plain.count((setting, label)) == 1 else f"{label} [{cell.told}]"
        for (setting, label), (cell, _) in zip(plain, cells, strict=True)
    ]


def over_seeds(rows: Sequence[Row]) -> Row:
    """One row of several that differ in their seed alone: means, and under ``spread`` the standard deviation of each
    number. Intervals are the first seed's: the facts are the same, so that more seeds do not make them narrower. What
    brings facts back (``probes``) and the change from before are the first seed's too."""
    first = rows[0]
    if len(rows) == 1:
        return {**first, "seeds": [first["seed"]]}
    numbers = {key: [row[key] for row in rows] for key, value in first.items() if _measured(key, value)}
    whole = {key: values for key, values in numbers.items() if all(_measured(key, value) for value in values)}
    return {
        **first,
        **{key: fmean(values) for key, values in whole.items()},
        "means": _means([row.get("means") or {} for row in rows]),
        "overall": {key: _mean([row["overall"][key] for row in rows]) for key in first.get("overall") or {}},
        "seeds": [row["seed"] for row in rows],
        "spread": {key: stdev(values) for key, values in whole.items()},
    }


def _means(tables: Sequence[Row]) -> dict[str, Any]:
    """By metric and group the mean over seeds; intervals and counts are the first's."""
    return {
        metric: {
            group: {**found, "mean": _mean([table[metric][group]["mean"] for table in tables])}
            for group, found in groups.items()
        }
        for metric, groups in tables[0].items()
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """None where it is undefined for a seed."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _measured(key: str, value: Any) -> bool:
    counted = key.startswith("n_") or key in ("seed", "size")
    return isinstance(value, int | float) and not isinstance(value, bool) and not counted


def _failed_row(cell: Cell, error: str) -> Row:
    method = cell.hparams.split("/")[0]
    return {
        **DESCRIPTION, "method": method, "label": f"{method}: failed", "setting": cell.setting, "family": cell.family,
        "size": cell.size, "seed": cell.seed, "model": cell.label, "hparams": cell.hparams, "stopped": error,
        "intervals": {}, "versions": {}, "means": {}, "overall": {},
    }  # fmt: skip
