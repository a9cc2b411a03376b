"""Charts as inline SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any


def forget_against_keep(rows: Sequence[Mapping[str, Any]]) -> str:
    """Forgotten (right) against neighbours kept (up), with 95 % intervals: the best method is at the top right."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # not pyplot: the user's figures and backend are theirs

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "easyedit-unlearn"}):
        figure = Figure(figsize=(6, 4.2), layout="constrained")
        axes = figure.subplots()
        for row in rows:
            x, y = row["forget_answer_rate"], row["holdout_answer_rate"]
            if x is None or y is None:
                continue
            low_x, high_x = row["intervals"]["forget_answer_rate"]
            low_y, high_y = row["intervals"]["holdout_answer_rate"]
            # Intervals may exclude their own extreme proportion by a rounding error; bars must not be negative.
            bars = [[max(0.0, 1 - x - (1 - high_x))], [max(0.0, (1 - low_x) - (1 - x))]]
            axes.errorbar(
                [1 - x], [y], xerr=bars, yerr=[[max(0.0, y - low_y)], [max(0.0, high_y - y)]],
                fmt="o", capsize=3, label=str(row["label"]).replace("$", r"\$"),
            )  # fmt: skip
        axes.set(
            xlabel="forget facts no longer given (share)", ylabel="holdout facts kept (share)", xlim=(-0.05, 1.05),
            ylim=(-0.05, 1.05), title="Top right is best",
        )  # fmt: skip
        axes.grid(alpha=0.3)
        axes.legend()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
