"""Everything a set of results is written as: JSON, JSON lines, CSV, Markdown, one HTML page, charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from easyedit_unlearn.components import Component
from easyedit_unlearn.plugins import default_plugins
from easyedit_unlearn.report.charts import charts
from easyedit_unlearn.report.html import page
from easyedit_unlearn.report.markdown import markdown
from easyedit_unlearn.report.spreadsheet import csv_text
from easyedit_unlearn.report.table import all_rows
from easyedit_unlearn.storage import json_lines, json_text, write_outputs

FILES = ("results.json", "samples.jsonl", "results.csv", "report.md", "report.html", "charts/")


def write_report(results: Mapping[str, Any], out: Path, metrics: Iterable[Component] | None = None) -> None:
    """All of ``FILES`` in ``out``, each written atomically: ``samples.jsonl`` has a prompt a line, ``results.csv`` a
    method a line. ``metrics``: those whose tables are drawn; by default all that are registered.

    Raises:
        OutputExistsError: a file of one of these names is there that is not ours.
    """
    known = list(metrics if metrics is not None else default_plugins().metrics)
    drawn = charts(all_rows(results))
    texts = {
        "results.json": json_text(results),
        "samples.jsonl": json_lines(results["samples"]),
        "results.csv": csv_text(results),
        **{f"charts/{name}.svg": svg for name, svg in drawn.items()},
        "report.md": markdown(results, known, list(drawn)),
        "report.html": page(results, known, drawn),
    }
    write_outputs(out, {name: text.encode("utf-8") for name, text in texts.items()})
