"""``report.md``, for repositories. Model output is escaped: it may hold pipes, tags or backticks."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from easyedit_unlearn.components import Component
from easyedit_unlearn.report.compare import comparison_cells
from easyedit_unlearn.report.metrics import PROBE_HEADINGS, change_cells, overall_changes, probe_cells
from easyedit_unlearn.report.table import (
    GROUPS,
    all_rows,
    before_of,
    best_places,
    cells,
    excerpt,
    interval_lines,
    note_lines,
    quality_tables,
    table_columns,
)
from easyedit_unlearn.report.verdict import made_by, verdicts
from easyedit_unlearn.results import Results, Row
from easyedit_unlearn.types import Column

PAIRS = ("method", "against the best balanced", *(f"{group}: given" for group in GROUPS), "setting")


def markdown(results: Results, metrics: Iterable[Component] = (), charts: Sequence[str] = ()) -> str:
    """``charts``: the names of those in ``charts/``."""
    rows, metrics = all_rows(results), list(metrics)
    columns = table_columns(metrics)
    lines = [f"# Unlearning report ({results.status})", ""]
    lines += [escaped(results.message), ""] if results.message else []
    for text in verdicts(results):
        lines += [f"**{escaped(text)}**", ""]
    lines += [escaped("; ".join(made_by(results))), ""] if made_by(results) else []
    lines += [f"    {' '.join(results.command.split())}", ""] if results.command else []
    lines += _leaderboard(rows, columns)
    lines += ["", *(f"![{name}](charts/{name}.svg)" for name in charts)]
    lines += [
        "",
        "Shares are over the facts that the model knew before; the best of each column is bold. 95 % intervals:",
    ]
    lines += ["", *(f"- {escaped(line)}" for line in interval_lines(rows))]
    lines += ["", *(escaped(line) for line in note_lines(rows))] if note_lines(rows) else []
    for quality in quality_tables(rows):
        headings = [column.heading for column in quality.columns]
        lines += ["", f"{quality.title}:", "", *markdown_table(headings, quality.cells)]
    if pairs := comparison_cells(rows, results.samples):
        lines += [
            "",
            "In pairs, on the same prompts: points more of the answers given, with the 95 % interval (* without",
        ]
        lines += ["zero in it):", "", *markdown_table(PAIRS, pairs)]
    for row in rows:
        lines += _hidden(row) if row.get("probes", {}).get("facts") else []
    for row in rows:
        lines += _metrics(before_of(row, rows), row, metrics) if row.get("means") and metrics else []
    for entry in excerpt(results.samples):
        lines += ["", f"**{escaped(entry['question'])}**", ""]
        lines += [f"- before: {escaped(entry['before'])}"] if entry["before"] is not None else []
        lines += [f"- {escaped(method)}: {escaped(text)}" for method, text in entry["after"].items()]
    if made := next((row for row in rows if row["versions"]), None):
        of = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
        by = f"Model: {escaped(made['model'])}. Host: EasyEdit {escaped(made['host'])}. Seed: {made['seed']}. {of}."
        lines += ["", by]
    return "\n".join(lines) + "\n"


def markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], bold: Iterable[tuple[int, int]] = ()
) -> list[str]:
    """``bold``: (row, column) of what stands out."""
    strong = set(bold)
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for number, row in enumerate(rows):
        shown = [
            f"**{escaped(text)}**" if (number, place) in strong else escaped(text) for place, text in enumerate(row)
        ]
        lines.append("| " + " | ".join(shown) + " |")
    return lines


def _leaderboard(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """A table a setting."""
    headings = [column.heading for column in columns]
    lines: list[str] = []
    for setting in dict.fromkeys(row.get("setting") for row in rows):
        mine = [row for row in rows if row.get("setting") == setting]
        lines += ["", f"## {escaped(setting)}", ""] if setting else []
        lines += markdown_table(headings, cells(mine, columns), best_places(mine, columns))
    return lines or markdown_table(headings, [])


def _hidden(row: Row) -> list[str]:
    found = row["probes"]
    counts = f"{found['hidden']} hidden, {found['forgotten']} forgotten of {found['facts']} not given"
    return ["", f"**{escaped(row['label'])}: what brings facts back** ({counts})", "",
            *markdown_table(PROBE_HEADINGS, probe_cells(row))]  # fmt: skip


def _metrics(before: Row | None, row: Row, metrics: Sequence[Component]) -> list[str]:
    headings, lines = change_cells(before, row, metrics)
    overall = overall_changes(before, row, metrics)
    title = f"**{escaped(row['label'])}: every metric, over all samples** (arrows: what is wanted on the forget set)"
    return ["", title, "", *markdown_table(headings, lines), "",
            *markdown_table(("of the whole", "before", "value", "what it is"), overall)]  # fmt: skip


_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of what follows."""


def escaped(text: str) -> str:
    """In a line of Markdown, word for word."""
    flat = html.escape(_UNSEEN.sub("", " ".join(str(text).split())), quote=False)
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", flat)
