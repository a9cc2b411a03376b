"""Every metric of one row, as columns of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from easyedit_unlearn.components import Component, Metric, SetMetric
from easyedit_unlearn.evaluation.probes import ABOUT
from easyedit_unlearn.results import Row
from easyedit_unlearn.types import ARROWS


def metric_cells(row: Row, metrics: Iterable[Component]) -> tuple[list[str], list[list[str]]]:
    """Headings (the groups), and a line for each metric of single samples: mean and half of the 95 % interval, ``-``
    where it is undefined."""
    found = [metric for metric in metrics if isinstance(metric, Metric) and metric.name in row["means"]]
    groups = list(next(iter(row["means"].values()), {}))
    listed = [
        [metric.name + ARROWS[metric.direction], *(_cell(row["means"][metric.name].get(group, {})) for group in groups)]
        for metric in found
    ]
    counts = ["prompts", *(str(_prompts(row, group)) for group in groups)]
    return ["metric", *groups], [counts, *listed]


def change_cells(before: Row | None, row: Row, metrics: Iterable[Component]) -> tuple[list[str], list[list[str]]]:
    """The same with what each mean was before: ``0.91 → 0.12 ±0.08``; then the numbers about the whole."""
    headings, lines = metric_cells(row, metrics)
    if before and before.get("means") and before is not row:
        _, earlier = metric_cells(before, metrics)
        old = {line[0]: dict(zip(headings[1:], line[1:], strict=False)) for line in earlier[1:]}
        lines = lines[:1] + [
            [line[0], *(_arrow(old, line[0], group, cell) for group, cell in zip(headings[1:], line[1:], strict=True))]
            for line in lines[1:]
        ]
    return headings, lines


def overall_changes(before: Row | None, row: Row, metrics: Iterable[Component]) -> list[list[str]]:
    """Name, value before, value after and summary of each metric of the whole."""
    metrics = list(metrics)
    old = {line[0]: line[1] for line in overall_cells(before, metrics)} if before and before.get("overall") else {}
    return [[name, old.get(name, "-"), value, about] for name, value, about in overall_cells(row, metrics)]


def _arrow(old: Mapping[str, Mapping[str, str]], name: str, group: str, cell: str) -> str:
    first = old.get(name, {}).get(group, "-").split(" ±")[0]
    return cell if first == cell == "-" else f"{first} → {cell}"


def overall_cells(row: Row, metrics: Iterable[Component]) -> list[list[str]]:
    """Name, value and summary of each metric of the whole."""
    return [
        [f"{metric.name}{_wanted(metric)}", number(row["overall"][metric.name]), metric.summary]
        for metric in metrics
        if isinstance(metric, SetMetric) and metric.name in row["overall"]
    ]


def without_reference(row: Row, metrics: Iterable[Component]) -> list[str]:
    """What compares with another model and has none."""
    return [
        metric.name
        for metric in metrics
        if isinstance(metric, SetMetric) and metric.needs_reference and row["overall"].get(metric.name) is None
    ]


def probe_cells(row: Row) -> list[list[str]]:
    """Name, facts that came back, prompts that were refused and meaning of each probe (``PROBE_HEADINGS``); ``-`` where
    it could be tried on no fact, or asks nothing."""
    found = row["probes"]["back"]

    def share(one: Mapping[str, int], part: str, whole: str) -> str:
        return f"{one[part]}/{one[whole]}" if one.get(whole) else "-"

    return [
        [name, share(found[name], "back", "of"), share(found[name], "refused", "prompts"), about]
        for name, about in ABOUT.items()
        if name in found
    ]


PROBE_HEADINGS = ("probe", "came back", "prompts refused", "what it is")


def number(value: float | None) -> str:
    """Two or three digits that say something."""
    if value is None:
        return "-"
    size = abs(value)
    if 0 < size < 1e-3 or size >= 1e5:
        return f"{value:.1e}"
    return f"{value:.2g}" if size < 1 else f"{value:.3g}"


def _cell(found: Mapping[str, Any]) -> str:
    """The mean, and half of its interval's width: six groups must fit beside one another."""
    mean, interval = found.get("mean"), found.get("interval")
    if mean is None:
        return "-"
    return number(mean) + (f" ±{number((interval[1] - interval[0]) / 2)}" if interval else "")


def _prompts(row: Row, group: str) -> int:
    return max((found[group]["n"] for found in row["means"].values() if group in found), default=0)


def _wanted(metric: SetMetric) -> str:
    return f" → {number(metric.wanted)}" if metric.wanted is not None else ARROWS[metric.direction]
