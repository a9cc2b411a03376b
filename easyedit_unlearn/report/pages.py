"""Everything a set of results is written as: JSON, JSON lines, CSV, Markdown, one HTML page, charts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from easyedit_unlearn.components import Component
from easyedit_unlearn.report.charts import charts, on_paper
from easyedit_unlearn.report.html import page
from easyedit_unlearn.report.markdown import markdown
from easyedit_unlearn.report.spreadsheet import csv_text
from easyedit_unlearn.report.table import all_rows, table_columns
from easyedit_unlearn.results import Results
from easyedit_unlearn.storage import json_lines, json_text, write_outputs

FILES = ("results.json", "samples.jsonl", "results.csv", "report.md", "report.html", "charts/")


def write_report(results: Results, out: Path, metrics: Iterable[Component]) -> None:
    """All of ``FILES`` in ``out``, each written atomically: ``samples.jsonl`` has a prompt a line, ``results.csv`` a
    method a line. ``metrics``: those whose columns and tables are drawn.

    Raises:
        OutputExistsError: a file of one of these names is there that is not ours.
    """
    known = list(metrics)
    drawn = charts(all_rows(results))
    texts = {
        "results.json": json_text(results.as_dict()),
        "samples.jsonl": json_lines(results.samples),
        "results.csv": csv_text(results, table_columns(known)),
        **{f"charts/{name}.svg": on_paper(svg) for name, svg in drawn.items()},
        "report.md": markdown(results, known, list(drawn)),
        "report.html": page(results, known, drawn),
    }
    write_outputs(out, {name: text.encode("utf-8") for name, text in texts.items()})
