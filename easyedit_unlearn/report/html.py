"""``report.html``: one page without any outside reference. Autoescaping, since model output is untrusted text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from easyedit_unlearn.components import Component
from easyedit_unlearn.report.charts import inked
from easyedit_unlearn.report.compare import comparison_cells
from easyedit_unlearn.report.markdown import PAIRS
from easyedit_unlearn.report.metrics import change_cells, overall_changes, probe_cells
from easyedit_unlearn.report.said import said
from easyedit_unlearn.report.table import (
    all_rows,
    before_of,
    best_places,
    cells,
    interval_lines,
    note_lines,
    quality_tables,
    table_columns,
)
from easyedit_unlearn.report.verdict import made_by, verdicts
from easyedit_unlearn.results import Results, Row, measure
from easyedit_unlearn.types import Column


def page(results: Results, metrics: Iterable[Component] = (), charts: Mapping[str, str] | None = None) -> str:
    """``charts``: SVG by name, of matplotlib, which escapes the text it draws."""
    from jinja2 import Environment, PackageLoader, select_autoescape
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("easyedit_unlearn.report"), autoescape=select_autoescape(["html", "j2"])
    )
    rows, metrics = all_rows(results), list(metrics)
    columns = table_columns(metrics)
    script = (Path(__file__).parent / "templates" / "report.js").read_text(encoding="utf-8")
    html_page: str = environment.get_template("report.html.j2").render(
        results=results,
        columns=columns,
        settings=list(dict.fromkeys(row.get("setting") for row in rows)),
        board=_board(rows, columns),
        qualities=quality_tables(rows),
        pair_headings=PAIRS,
        verdicts=verdicts(results),
        made_by="; ".join(made_by(results)),
        pairs=comparison_cells(rows, results.samples),
        intervals=interval_lines(rows),
        advice=note_lines(rows),
        probes=[(row, probe_cells(row)) for row in rows if row.get("probes", {}).get("facts")],
        metrics=_metrics(rows, metrics),
        charts={name: Markup(inked(svg, "currentColor")) for name, svg in (charts or {}).items()},  # noqa: S704
        samples=said(results.samples),
        made=next((row for row in rows if row["versions"]), None),
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return html_page


def _board(rows: Sequence[Row], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Each row's cells: what is shown, by what it is sorted, and whether it is its column's best."""
    best = best_places(rows, columns)
    return [
        {
            "setting": row.get("setting"),
            "before": row["method"] == "before",
            "about": row.get("stopped") or "",
            "cells": [
                {"text": text, "key": measure(row, column.key), "best": (number, place) in best}
                for place, (column, text) in enumerate(zip(columns, line, strict=True))
            ],
        }
        for number, (row, line) in enumerate(zip(rows, cells(rows, columns), strict=True))
    ]


def _metrics(rows: Sequence[Row], metrics: Sequence[Component]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        if row.get("means") and metrics:
            before = before_of(row, rows)
            headings, lines = change_cells(before, row, metrics)
            found.append(
                {"row": row, "headings": headings, "lines": lines, "overall": overall_changes(before, row, metrics)}
            )
    return found
