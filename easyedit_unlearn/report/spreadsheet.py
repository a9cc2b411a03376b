"""``results.csv``: a row a method, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from easyedit_unlearn.report.table import all_rows
from easyedit_unlearn.results import Results, Row, measure
from easyedit_unlearn.types import Column

_FIRST = ("setting", "label", "method", "engine", "mode", "target", "merge", "model", "seed", "seeds", "n_forget",
          "n_known", "n_retain", "n_holdout", "n_requests")  # fmt: skip


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_text(results: Results, columns: Sequence[Column]) -> str:
    """Plain numbers; each share with the ends of its interval; the metrics of the whole; why a method stopped."""
    rows = [_flat(row, columns) for row in all_rows(results)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _flat(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    flat = {name: _text(measure(row, name)) for name in _FIRST}
    for column in columns[1:]:
        flat[column.key] = measure(row, column.key)
        if column.format == "share":
            ends = row["intervals"].get(column.key) or ("", "")
            flat |= {f"{column.key}_low": ends[0], f"{column.key}_high": ends[1]}
    return flat | (row.get("overall") or {}) | {"stopped": _text(row.get("stopped"))}


def _text(value: Any) -> Any:
    """No cell may begin a formula."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA and len(value) > 1 else value
