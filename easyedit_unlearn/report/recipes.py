"""Charts of the two recipes, as PNG: refusals compared, and merged against unmerged over forget sizes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
_MEASURES = (
    ("forget_answer_rate", "forget: still given ↓"),
    ("rephrase_answer_rate", "rephrase: still given ↓"),
    ("rephrase_refusal_rate", "rephrase: refused ↑"),
    ("retain_answer_rate", "retain: kept ↑"),
    ("holdout_answer_rate", "holdout: kept ↑"),
)


def refusal_chart(rows: Sequence[Row]) -> bytes:
    """A panel a measure: one bar for each method and target builder, with 95 % intervals."""
    methods, builders = _distinct(rows, "method"), _distinct(rows, "target")

    def draw(axes: Any) -> None:
        width = 0.8 / max(len(builders), 1)
        for panel, (key, title) in zip(axes[0], _MEASURES, strict=True):
            for number, builder in enumerate(builders):
                mine = [row for row in rows if row["target"] == builder and row[key] is not None]
                places = [methods.index(row["method"]) + (number - (len(builders) - 1) / 2) * width for row in mine]
                panel.bar(places, [row[key] for row in mine], width, label=builder, yerr=_bars(mine, key), capsize=2)
            panel.set(title=title, ylim=(0, 1.05))
            panel.set_xticks(range(len(methods)), methods, rotation=30, ha="right")
        axes[0][0].set_ylabel("share of facts")

    return _png(draw, 1, len(_MEASURES), (15, 3.6))


def merging_chart(rows: Sequence[Row]) -> bytes:
    """A row of panels for each method and engine: curves over the forget size, one for each merging."""
    setups = list(dict.fromkeys((row["method"], row["engine"]) for row in rows))
    merges = _distinct(rows, "merge")

    def draw(axes: Any) -> None:
        for line, (method, engine) in zip(axes, setups, strict=True):
            for panel, (key, title) in zip(line, _MEASURES, strict=True):
                for number, merge in enumerate(merges):
                    mine = [r for r in rows if (r["method"], r["engine"], r["merge"]) == (method, engine, merge)]
                    mine = sorted((r for r in mine if r[key] is not None), key=lambda r: r["n_forget"])
                    panel.plot(
                        [r["n_forget"] for r in mine],
                        [r[key] for r in mine],
                        marker="osD^vXP*"[number % 8],
                        linewidth=max(1.0, 3.5 - 0.5 * number),  # curves may lie on one another
                        label=merge,
                    )
                panel.set(title=f"{method}, {engine}\n{title}", ylim=(-0.05, 1.05), xlabel="facts forgotten")
                panel.grid(alpha=0.3)
            line[0].set_ylabel("share of facts")

    return _png(draw, len(setups), len(_MEASURES), (17, 3.6 * len(setups)))


def _png(draw: Callable[[Any], None], rows: int, columns: int, size: tuple[float, float]) -> bytes:
    from matplotlib.figure import Figure  # not pyplot: the user's figures and backend are theirs

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    draw(axes)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=max(len(labels), 1))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _bars(rows: Sequence[Row], key: str) -> list[list[float]]:
    """Distances to the ends of the 95 % interval, below and above; never negative by rounding."""
    return [
        [max(0.0, row[key] - row["intervals"][key][0]) for row in rows],
        [max(0.0, row["intervals"][key][1] - row[key]) for row in rows],
    ]


def _distinct(rows: Sequence[Row], key: str) -> list[str]:
    return list(dict.fromkeys(str(row[key]) for row in rows))
