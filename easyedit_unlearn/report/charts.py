"""Charts as SVG, for the page and as files. Not by pyplot: the user's figures and backend are theirs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
_MARKERS = "osD^vXP*<>hp"
_CURVES = (
    ("forget_answer_rate", "forget: still given ↓"),
    ("rephrase_answer_rate", "rephrase: still given ↓"),
    ("retain_answer_rate", "retain: kept ↑"),
    ("holdout_answer_rate", "holdout: kept ↑"),
)


def charts(rows: Sequence[Row]) -> dict[str, str]:
    """By name the SVG of each chart that these rows have something for."""
    methods = [row for row in rows if row["method"] != "before"]
    found = {}
    if any(_point(row) for row in methods):
        found["forget-against-keep"] = forget_against_keep(rows)
    if curves := _curves(methods):
        found["forget-size"] = over_size(curves)
    if lenses := {_name(row, rows): row["probes"]["lens"] for row in methods if row.get("probes", {}).get("lens")}:
        found["logit-lens"] = lens_map(lenses)
    return found


def forget_against_keep(rows: Sequence[Row]) -> str:
    """Forgotten (right) against neighbours kept (up), with 95 % intervals: the best method is at the top right."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for number, row in enumerate(row for row in rows if _point(row)):
            x, y = row["forget_answer_rate"], row["holdout_answer_rate"]
            bars = {
                "xerr": _bar(1 - x, [1 - end for end in reversed(row["intervals"]["forget_answer_rate"])]),
                "yerr": _bar(y, row["intervals"]["holdout_answer_rate"]),
            }
            axes.errorbar(
                [1 - x], [y], **bars, fmt=_MARKERS[number % len(_MARKERS)], color=_colour(number), elinewidth=0.6,
                capsize=2, label=_plain(_name(row, rows)), alpha=0.85,
            )  # fmt: skip
        axes.set(
            xlabel="forget facts no longer given (share)", ylabel="holdout facts kept (share)", xlim=(-0.05, 1.05),
            ylim=(-0.05, 1.05), title="Top right is best; bars are 95 % intervals",
        )  # fmt: skip
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", fontsize=8)

    return _svg(draw, (8.5, 4.8))


def over_size(curves: Mapping[str, Sequence[Row]]) -> str:
    """A panel a measure: one line for each method over how many facts were to be forgotten."""

    def draw(figure: Any) -> None:
        for panel, (key, title) in zip(figure.subplots(1, len(_CURVES)), _CURVES, strict=True):
            for number, (name, rows) in enumerate(curves.items()):
                mine = [row for row in rows if row.get(key) is not None]
                panel.plot(
                    [row["n_forget"] for row in mine], [row[key] for row in mine], label=_plain(name),
                    marker=_MARKERS[number % len(_MARKERS)], color=_colour(number),
                )  # fmt: skip
            panel.set(title=title, ylim=(-0.05, 1.05), xlabel="facts to forget")
            panel.grid(alpha=0.3)
        handles, labels = panel.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)

    return _svg(draw, (14, 4.4))


def lens_map(lenses: Mapping[str, Sequence[float]]) -> str:
    """A line for each method, a column for each layer: the mean probability of the forgotten answers' tokens there."""

    def draw(figure: Any) -> None:
        layers = max(map(len, lenses.values()))
        table = [[*values, *[float("nan")] * (layers - len(values))] for values in lenses.values()]
        axes = figure.subplots()
        image = axes.imshow(table, aspect="auto", vmin=0, cmap="viridis")
        axes.set_yticks(range(len(lenses)), [_plain(name) for name in lenses])
        axes.set(xlabel="after layer", title="Logit lens: probability of the answers that are no longer given")
        figure.colorbar(image, label="probability per token")

    return _svg(draw, (8.5, 1.6 + 0.4 * len(lenses)))


def _curves(methods: Sequence[Row]) -> dict[str, list[Row]]:
    """By method its rows over growing forget sets; empty where nothing grows."""
    found: dict[str, list[Row]] = {}
    for row in methods:
        if row.get("forget_answer_rate") is not None:
            # not by setting, which names the size
            found.setdefault(f"{row['label']}, {_family(row)}", []).append(row)
    grown = {name: sorted(rows, key=lambda row: row["n_forget"]) for name, rows in found.items()}
    grown = {name: rows for name, rows in grown.items() if len({row["n_forget"] for row in rows}) > 1}
    families = {_family(row) for rows in grown.values() for row in rows}
    return {name if len(families) > 1 else rows[0]["label"]: rows for name, rows in grown.items()}


def _family(row: Row) -> str:
    """What rows over growing forget sets share."""
    return str(row.get("family") or row["model"])


def _point(row: Row) -> bool:
    return row.get("forget_answer_rate") is not None and row.get("holdout_answer_rate") is not None


def _name(row: Row, rows: Sequence[Row]) -> str:
    """The method, and where there are several settings, which."""
    several = len({other.get("setting") for other in rows}) > 1
    return f"{row['label']} · {row['setting']}" if several else str(row["label"])


def _bar(value: float, interval: Sequence[float]) -> list[list[float]]:
    """Distances to the interval's ends; an interval may exclude its own proportion by a rounding error."""
    return [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]


def _plain(text: str) -> str:
    """Without what matplotlib takes for mathematics, or for a name not to be listed."""
    return text.replace("$", r"\$").removeprefix("_")


def _colour(number: int) -> str:
    return f"C{number % 10}"


def _svg(draw: Any, size: tuple[float, float]) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "easyedit-unlearn"}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
