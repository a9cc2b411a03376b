"""Tables for the terminal. Model output is printed as text, never as markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from easyedit_unlearn.components import Component
from easyedit_unlearn.evaluation.reference import HOW_TO
from easyedit_unlearn.report.metrics import PROBE_HEADINGS, metric_cells, overall_cells, probe_cells, without_reference
from easyedit_unlearn.report.table import (
    REFUSALS,
    all_rows,
    best_places,
    cell,
    cells,
    excerpt,
    fraction,
    interval_lines,
    narrow,
    note_lines,
    quality_tables,
)
from easyedit_unlearn.report.verdict import verdicts
from easyedit_unlearn.results import Results, Row
from easyedit_unlearn.types import ARROWS, Column

if TYPE_CHECKING:
    from easyedit_unlearn.evaluation.refusal_quality import RefusalQuality

_LONGEST = 160


def print_report(console: Console, results: Results, columns: Sequence[Column]) -> None:
    """A before/after excerpt of three answers, the table (methods as columns, so that it fits), and intervals."""
    for entry in excerpt(results.samples):
        console.print(Text(f"\nQ: {short(entry['question'])}", style="bold"))
        if entry["before"] is not None:
            console.print(Text(f"   before: {short(entry['before'])}"))
        for method, text in entry["after"].items():
            console.print(Text(f"   {method}: {short(text)}"))
    rows = all_rows(results)
    if not rows:
        return
    console.print()
    for text in verdicts(results):
        console.print(Text(printable(text), style="bold"), soft_wrap=True)
    table = Table(title="Unlearning", title_justify="left")
    methods, *measures = zip(*cells(rows, columns), strict=True)
    table.add_column("over the facts known before")
    for method in methods:
        table.add_column(Text(method), justify="right")
    best = best_places(rows, columns)
    for place, (column, values) in enumerate(zip(columns[1:], measures, strict=True), start=1):
        styles = ["bold" if (number, place) in best else "" for number in range(len(rows))]
        table.add_row(column.heading, *(Text(text, style=style) for text, style in zip(values, styles, strict=True)))
    console.print()
    console.print(table)
    console.print(Text("95 % intervals, answer given:"))
    for line in interval_lines(rows):
        console.print(Text(f"  {line}"))
    for line in note_lines(rows):
        console.print(Text(printable(line), style="yellow"), soft_wrap=True)

    for quality in quality_tables(rows):
        console.print()
        print_rows(console, quality.title, [column.heading for column in quality.columns], quality.cells)


def print_leaderboard(console: Console, results: Results, columns: Sequence[Column]) -> None:
    """A table a setting, a method a line, the best balanced first and the best of each column bold."""
    every, columns = all_rows(results), narrow(columns)
    for setting in dict.fromkeys(row.get("setting") for row in every):
        rows = [row for row in every if row.get("setting") == setting]
        rows.sort(key=lambda row: (row["method"] != "before", -(row.get("balance") or 0.0)))
        best = best_places(rows, columns)
        table = Table(title=Text(str(setting or "Unlearning")), title_justify="left")
        for column in columns:
            first = column.key == "label"
            table.add_column(
                f"{column.short or column.name}{ARROWS[column.direction]}", justify="left" if first else "right",
                overflow="fold", min_width=16 if first else None,
            )  # fmt: skip
        for number, row in enumerate(rows):
            texts = [
                Text(printable(fraction(row, column)), style="bold green" if (number, place) in best else "")
                for place, column in enumerate(columns)
            ]
            table.add_row(*texts)
        console.print(table)
    for line in note_lines(every):
        console.print(Text(printable(line), style="yellow"), soft_wrap=True)
    for row in every:
        if row.get("stopped"):
            console.print(Text(printable(f"{row['label']}: {row['stopped']}"), style="red"), soft_wrap=True)


def print_metrics(console: Console, row: Row, metrics: Iterable[Component]) -> None:
    """Every metric on every group, over all samples, with 95 % intervals; then what is about the whole."""
    headings, listed = metric_cells(row, metrics)
    console.print()
    print_rows(console, "Over all samples, known before or not", headings, listed, whole_names=True)
    console.print(Text("mean ± half of its 95 % interval; what is wanted on the forget set: ↑ more, ↓ less"))
    console.print()
    names = ("metric", "value", "what it is")
    print_rows(console, "About the whole", names, overall_cells(row, metrics), whole_names=True)
    console.print(Text("-: undefined; a group (--holdout, --also) or the data set's wrong answers are missing"))
    if lacking := without_reference(row, metrics):
        console.print(Text(f"undefined without a reference: {', '.join(lacking)}. {HOW_TO}"), soft_wrap=True)


def print_probes(console: Console, row: Row) -> None:
    """What brought forgotten facts back, and how many nothing did; nothing where it was not asked."""
    if not (found := row.get("probes")):
        return
    console.print()
    if not found["facts"]:
        console.print(Text(f"{row['label']}: every fact known before is still given; there is nothing to bring back"))
        return
    title = f"{row['label']}: what brings facts back"
    print_rows(console, title, PROBE_HEADINGS, probe_cells(row))
    verdict = (
        f"{found['facts']} facts known before are not given when asked plainly: {found['hidden']} hidden (something "
        f"of this brings them back), {found['forgotten']} forgotten (nothing does)"
    )
    console.print(Text(verdict), soft_wrap=True)


def print_refusals(console: Console, rows: Sequence[RefusalQuality], summary: Mapping[str, Any]) -> None:
    """Every refusal with its question, then what they are like together."""
    listed = [
        (short(r.question), short(r.refusal), r.origin, " ".join(["specific"] * r.specific + ["GIVES AWAY"] * r.leaks))
        for r in rows
    ]
    print_rows(console, "Refusals", ("question", "refusal", "written by", ""), listed)
    means = [(column.heading, cell(cast(Row, summary), column)) for column in REFUSALS[1:]]
    means += [(name, f"{summary[name]:.2f}") for name in ("similarity", "judged") if summary[name] is not None]
    print_rows(console, "Together", ("measure", "value"), means)


def print_rows(
    console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, whole_names: bool = False
) -> None:
    """A plain listing; ``whole_names``: the first column is not folded."""
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=whole_names and not number)
    for row in rows:
        table.add_row(*(Text(printable(value)) for value in row))
    console.print(table)


def printable(text: str) -> str:
    """Without control characters: model output may not drive the terminal."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")


def short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
