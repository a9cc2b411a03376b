"""From the outcomes of cells to one set of results: rows of several seeds become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, cast

from easyedit_unlearn.bench.cells import Outcome
from easyedit_unlearn.bench.grid import Cell
from easyedit_unlearn.results import UNDESCRIBED, Record, Results, Row, measure, row_of


def results_of(outcomes: Sequence[tuple[Cell, Outcome]]) -> Results:
    """By setting the untouched model, then its methods, the best balanced first; a failed cell is a row that says why.

    Cells that differ in nothing but their seed become one row, or one a size, with the samples of the first.
    """
    befores: dict[str, Row] = {}
    alike: dict[str, list[tuple[Cell, Outcome]]] = {}
    results, failures = Results(), []
    for cell, outcome in outcomes:
        if outcome["status"] != "done":
            failures.append(_failed_row(cell, outcome["error"]))
            continue
        befores.setdefault(cell.setting, row_of(outcome["before"], {"label": "before", "size": cell.size}))
        alike.setdefault(cell.without_seed(), []).append((cell, outcome))
    labels = _labels([group[0] for group in alike.values()])
    rows: list[Row] = []
    for label, group in zip(labels, alike.values(), strict=True):
        cell, first = group[0]
        about = {"label": label, "hparams": cell.hparams, "family": cell.family}
        for same in zip(*(outcome["rows"] for _, outcome in group), strict=False):
            rows.append(row_of(over_seeds(same), about, {"size": same[0]["n_forget"]}))
        results.samples += [cast(Record, {**record, "method": label}) for record in first["samples"]]
    rows.sort(key=lambda row: -(row.get("balance") or 0.0))
    results.rows = [*befores.values(), *rows, *failures]
    return results


def _labels(cells: Sequence[tuple[Cell, Outcome]]) -> list[str]:
    """Each row's own; where two of a setting have one, also the hparams file and what was given in its place."""
    plain = [(cell.setting, bool(cell.sizes), outcome["rows"][-1]["label"]) for cell, outcome in cells]
    return [
        here[-1] if plain.count(here) == 1 else f"{here[-1]} [{cell.settings}]"
        for here, (cell, _) in zip(plain, cells, strict=True)
    ]


def over_seeds(rows: Sequence[Row]) -> Row:
    """One row of several that differ in their seed alone: means, and under ``spread`` the standard deviation of each
    number. Intervals are the first seed's: the facts are the same, so that more seeds do not make them narrower. What
    brings facts back (``probes``) and the change from before are the first seed's too."""
    first = rows[0]
    if len(rows) == 1:
        return row_of(first, {"seeds": [first["seed"]]})
    numbers = {key: [measure(row, key) for row in rows] for key, value in first.items() if _measured(key, value)}
    whole = {key: values for key, values in numbers.items() if all(_measured(key, value) for value in values)}
    return row_of(
        first,
        {key: fmean(values) for key, values in whole.items()},
        {
            "means": _means([row.get("means") or {} for row in rows]),
            "overall": {key: _mean([row["overall"][key] for row in rows]) for key in first.get("overall") or {}},
            "seeds": [row["seed"] for row in rows],
            "spread": {key: stdev(values) for key, values in whole.items()},
        },
    )


def _means(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
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
    return row_of(UNDESCRIBED, {
        "method": method, "label": f"{method}: failed", "setting": cell.setting, "family": cell.family,
        "size": cell.size, "seed": cell.seed, "model": cell.label, "hparams": cell.hparams, "stopped": error,
        "intervals": {}, "versions": {}, "means": {}, "overall": {},
    })  # fmt: skip
