"""``report.md`` and ``report.html`` from a results dictionary."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from easyedit_unlearn.report.plot import forget_against_keep
from easyedit_unlearn.report.table import (
    COLUMNS,
    REFUSALS,
    Column,
    all_rows,
    cells,
    excerpt,
    interval_lines,
    refusal_cells,
)
from easyedit_unlearn.storage import write_json, write_json_lines, write_text


def write_report(results: Mapping[str, Any], out: Path) -> None:
    """``results.json``, ``samples.jsonl`` (its records, a prompt a line), ``report.md`` and ``report.html`` in ``out``,
    each written atomically."""
    write_json(out / "results.json", results)
    write_json_lines(out / "samples.jsonl", results["samples"])
    write_text(out / "report.md", markdown(results))
    write_text(out / "report.html", page(results))


def markdown(results: Mapping[str, Any]) -> str:
    """For repositories. Model output is escaped: it may hold pipes, tags or backticks."""
    rows = all_rows(results)
    lines = [f"# Unlearning report ({results['status']})", ""]
    if results["message"]:
        lines += [_md(results["message"]), ""]
    if results["command"]:
        lines += [f"    {' '.join(results['command'].split())}", ""]
    lines += markdown_table(COLUMNS, cells(rows))
    lines += ["", "Shares are over the facts that the model knew before. 95 % intervals of the answers given:", ""]
    lines += [f"- {_md(line)}" for line in interval_lines(rows)]
    if given := refusal_cells(rows):
        lines += ["", "The refusals they were given:", "", *markdown_table(REFUSALS, given)]
    for entry in excerpt(results["samples"]):
        lines += ["", f"**{_md(entry['question'])}**", ""]
        lines += [f"- before: {_md(entry['before'])}"] if entry["before"] is not None else []
        lines += [f"- {_md(method)}: {_md(text)}" for method, text in entry["after"].items()]
    if rows:
        row = rows[-1]
        made = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        lines += ["", f"Model: {_md(row['model'])}. Host: EasyEdit {_md(row['host'])}. Seed: {row['seed']}. {made}."]
    return "\n".join(lines) + "\n"


def markdown_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(column.heading for column in columns) + " |", "|---" * len(columns) + "|"]
    return lines + ["| " + " | ".join(map(_md, row)) + " |" for row in rows]


def page(results: Mapping[str, Any]) -> str:
    """One HTML file without any outside reference; autoescaping, since model output is untrusted text."""
    from jinja2 import Environment, PackageLoader, select_autoescape
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("easyedit_unlearn.report"), autoescape=select_autoescape(["html", "j2"])
    )
    rows = all_rows(results)
    html_page: str = environment.get_template("report.html.j2").render(
        results=results,
        columns=COLUMNS,
        table=cells(rows),
        refusal_columns=REFUSALS,
        refusals=refusal_cells(rows),
        intervals=interval_lines(rows),
        excerpt=excerpt(results["samples"]),
        # matplotlib escapes the text it draws
        plot=Markup(forget_against_keep(rows)) if len(rows) > 1 else "",  # noqa: S704
        last=rows[-1] if rows else None,
    )
    return html_page


def _md(text: str) -> str:
    flat = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", flat)
