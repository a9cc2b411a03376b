"""Methods against one another on the very same prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from easyedit_unlearn.evaluation.aggregate import bootstrap
from easyedit_unlearn.report.table import GROUPS
from easyedit_unlearn.results import Record, Row


def against_best(rows: Sequence[Row], samples: Sequence[Record]) -> list[dict[str, Any]]:
    """Each method less the best balanced one of its setting, on the facts known before that both were asked: by group
    the mean ``difference``, its bootstrap ``interval`` over prompts, and ``n``. Empty where there is only one."""
    scores = _scores(samples)
    found = []
    for setting in dict.fromkeys(row.get("setting") for row in rows):
        mine = [r for r in rows if r.get("setting") == setting and r.get("balance") is not None]
        mine = [row for row in mine if row["method"] != "before" and (setting, row["label"]) in scores]
        if len(mine) < 2:
            continue
        best = max(mine, key=lambda row: row["balance"] or 0.0)
        for row in mine:
            if row is not best:
                pair = scores[setting, row["label"]], scores[setting, best["label"]]
                found.append({"setting": setting, "label": row["label"], "best": best["label"], **_paired(*pair)})
    return found


def comparison_cells(rows: Sequence[Row], samples: Sequence[Record]) -> list[list[str]]:
    """Of :func:`against_best`: the method, the best one, and by group the difference in points with its interval; a *
    where that excludes zero."""
    return [
        [row["label"], row["best"], *(_difference(row.get(group)) for group in GROUPS), row["setting"] or ""]
        for row in against_best(rows, samples)
    ]


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    interval = found["interval"]
    if interval is None:
        return f"{100 * found['difference']:+.0f}"
    low, high = (100 * end for end in interval)
    return f"{100 * found['difference']:+.0f} [{low:+.0f}, {high:+.0f}]{'*' * (low > 0 or high < 0)}"


def _scores(samples: Sequence[Record]) -> dict[tuple[Any, str], dict[tuple[str, str], float]]:
    """By setting and method: the answer rate of every known prompt."""
    found: dict[tuple[Any, str], dict[tuple[str, str], float]] = {}
    for record in samples:
        value = (record["scores_after"] or {}).get("answer_rate")
        if record["known"] and value is not None:
            key = record.get("setting"), record["method"]
            found.setdefault(key, {})[record["group"], record["question"]] = value
    return found


def _paired(own: Mapping[tuple[str, str], float], other: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    groups = {}
    for group in GROUPS:
        values = [own[key] - other[key] for key in own if key[0] == group and key in other]
        if values:
            groups[group] = {"difference": fmean(values), "n": len(values), "interval": bootstrap(values)}
    return groups
