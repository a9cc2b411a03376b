"""Charts as SVG, for the page and as files. Not by pyplot: the user's figures and backend are theirs."""

from __future__ import annotations

import html
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from easyedit_unlearn.results import Row, measure

_MARKERS = "osD^vXP*<>hp"
_ASIDE = 0.012
_BARS = (
    ("forget_answer_rate", "forget: still given ↓"),
    ("rephrase_answer_rate", "rephrase: still given ↓"),
    ("rephrase_refusal_rate", "rephrase: refused ↑"),
    ("retain_answer_rate", "retain: kept ↑"),
    ("holdout_answer_rate", "holdout: kept ↑"),
)
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
    if (compared := _by_target(methods)) and not curves:
        found["refusals"] = by_target(compared)
    if lenses := {_name(row, rows): row["probes"]["lens"] for row in methods if row.get("probes", {}).get("lens")}:
        found["logit-lens"] = lens_map(lenses)
    return found


def forget_against_keep(rows: Sequence[Row]) -> str:
    """Forgotten (right) against neighbours kept (up), with 95 % intervals: the best method is at the top right. What
    coincides lies side by side."""
    told: dict[str, str] = {}

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        places: Counter[tuple[float, float]] = Counter()
        for number, row in enumerate(row for row in rows if _point(row)):
            x, y = measure(row, "forget_answer_rate"), measure(row, "holdout_answer_rate")
            aside = _ASIDE * places[round(x, 2), round(y, 2)]  # or one marker would hide another
            places[round(x, 2), round(y, 2)] += 1
            bars = {
                "xerr": _bar(1 - x, [1 - end for end in reversed(row["intervals"]["forget_answer_rate"])]),
                "yerr": _bar(y, row["intervals"]["holdout_answer_rate"]),
            }
            drawn = axes.errorbar(
                [1 - x - aside], [y], **bars, fmt=_MARKERS[number % len(_MARKERS)], color=_colour(number),
                elinewidth=0.6, capsize=2, label=_plain(_name(row, rows)), alpha=0.85,
            )  # fmt: skip
            drawn[0].set_gid(f"point-{number}")
            told[f"point-{number}"] = f"{_name(row, rows)}: {_percent(1 - x)} forgotten, {_percent(y)} of holdout kept"
        axes.set(
            xlabel="forget facts no longer given (share)", ylabel="holdout facts kept (share)", xlim=(-0.05, 1.05),
            ylim=(-0.05, 1.05), title="Top right is best; bars are 95 % intervals",
        )  # fmt: skip
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", fontsize=8)

    return _with_titles(_svg(draw, (8.5, 4.8)), told)


def over_size(curves: Mapping[str, Sequence[Row]]) -> str:
    """A panel a measure: one line for each method over how many facts were to be forgotten. Where a method has several
    lines (queries merged in other ways), it has panels of its own."""
    groups: dict[str, dict[str, Sequence[Row]]] = {}
    for name, rows in curves.items():
        groups.setdefault(f"{rows[0]['method']}, {rows[0]['engine']}", {})[name] = rows
    if all(len(lines) == 1 for lines in groups.values()):
        groups = {"": dict(curves)}

    def draw(figure: Any) -> None:
        sizes = sorted({row["n_forget"] for rows in curves.values() for row in rows})
        shown = _panels(_CURVES, [row for rows in curves.values() for row in rows])
        axes = figure.subplots(len(groups), len(shown), squeeze=False)
        for line, (method, lines) in zip(axes, groups.items(), strict=True):
            for panel, (key, title) in zip(line, shown, strict=True):
                for number, (name, rows) in enumerate(lines.items()):
                    mine = [row for row in rows if measure(row, key) is not None]
                    panel.plot(
                        [row["n_forget"] for row in mine], [measure(row, key) for row in mine], label=_plain(name),
                        marker=_MARKERS[number % len(_MARKERS)], color=_colour(number), alpha=0.85,
                    )  # fmt: skip
                panel.set(title=title, ylim=(-0.05, 1.05), xlabel="facts to forget", xticks=sizes)
                panel.grid(alpha=0.3)
            line[0].set_ylabel(_plain(method))
            line[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)

    return _svg(draw, (16, 3.9 * len(groups)))


def by_target(rows: Sequence[Row]) -> str:
    """A panel a measure: one bar for each method and kind of refusal, with 95 % intervals."""
    methods, targets = (list(dict.fromkeys(str(measure(row, key)) for row in rows)) for key in ("method", "target"))

    def draw(figure: Any) -> None:
        width = 0.8 / len(targets)
        shown = _panels(_BARS, rows)
        for panel, (key, title) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            for number, target in enumerate(targets):
                mine = [row for row in rows if row["target"] == target and measure(row, key) is not None]
                places = [methods.index(row["method"]) + (number - (len(targets) - 1) / 2) * width for row in mine]
                ends = [_bar(measure(row, key), row["intervals"][key]) for row in mine]
                bars = [[low for (low,), _ in ends], [high for _, (high,) in ends]] if ends else None
                heights = [measure(row, key) for row in mine]
                panel.bar(places, heights, width, label=_plain(target), yerr=bars, capsize=2, color=_colour(number))
            panel.set(title=title, ylim=(0, 1.05))
            panel.set_xticks(range(len(methods)), [_plain(name) for name in methods], rotation=30, ha="right")
        panel.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)

    return _svg(draw, (17, 3.8))


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
        if measure(row, "forget_answer_rate") is not None:
            # not by setting, which names the size
            found.setdefault(f"{row['label']}, {_family(row)}", []).append(row)
    grown = {name: sorted(rows, key=lambda row: row["n_forget"]) for name, rows in found.items()}
    grown = {name: rows for name, rows in grown.items() if len({row["n_forget"] for row in rows}) > 1}
    families = {_family(row) for rows in grown.values() for row in rows}
    return {name if len(families) > 1 else rows[0]["label"]: rows for name, rows in grown.items()}


def _by_target(methods: Sequence[Row]) -> list[Row]:
    """The rows of the first setting in which a method was given more than one kind of refusal."""
    for setting in dict.fromkeys(row.get("setting") for row in methods):
        mine = [
            row for row in methods if row.get("setting") == setting and measure(row, "forget_answer_rate") is not None
        ]
        if any(len({measure(row, "target") for row in mine if row["method"] == one["method"]}) > 1 for one in mine):
            return mine
    return []


def _panels(measures: Sequence[tuple[str, str]], rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Those that any row has a number for."""
    return [(key, title) for key, title in measures if any(measure(row, key) is not None for row in rows)]


def _family(row: Row) -> str:
    """What rows over growing forget sets share."""
    return str(row.get("family") or row["model"])


def _point(row: Row) -> bool:
    return measure(row, "forget_answer_rate") is not None and measure(row, "holdout_answer_rate") is not None


def _name(row: Row, rows: Sequence[Row]) -> str:
    """The method, and where there are several settings, which."""
    several = len({other.get("setting") for other in rows}) > 1
    return f"{row['label']} · {row['setting']}" if several else str(row["label"])


def _bar(value: float, interval: Sequence[float]) -> list[list[float]]:
    """Distances to the interval's ends; an interval may exclude its own proportion by a rounding error."""
    return [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]


def _with_titles(svg: str, told: Mapping[str, str]) -> str:
    """What a browser says of a group when the pointer rests on it, by the group's id."""
    for name, text in told.items():
        svg = svg.replace(f'<g id="{name}">', f'<g id="{name}"><title>{html.escape(text)}</title>', 1)
    return svg


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _plain(text: str) -> str:
    """Without what matplotlib takes for mathematics, or for a name not to be listed."""
    return text.replace("$", r"\$").removeprefix("_")


def _colour(number: int) -> str:
    return f"C{number % 10}"


def _svg(draw: Any, size: tuple[float, float]) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    inks = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    faces = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "easyedit-unlearn", **dict.fromkeys(inks, _INK),
         **dict.fromkeys(faces, "none")}
    ):  # fmt: skip
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


_INK = "#010203"
"""Of text and frames, until it is known on what they stand; nothing else has it."""


def inked(svg: str, ink: str) -> str:
    """A chart with its text and frames in that colour: ``currentColor`` on a page that has a dark mode."""
    return svg.replace(_INK, ink)


def on_paper(svg: str) -> str:
    """A chart as a file of its own: black on white."""
    return inked(svg.replace("<svg ", '<svg style="background: white" ', 1), "#000000")
