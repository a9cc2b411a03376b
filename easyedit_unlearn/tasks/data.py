"""Where the published data sets lie: read in place, never copied into the package."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from easyedit_unlearn.errors import DataError

VARIABLE = "EASYEDIT_UNLEARN_DATA"


def data_dir() -> Path | None:
    """The directory that ``EASYEDIT_UNLEARN_DATA`` names."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else None


def data_file(task: str, name: str, directory: Path | None = None) -> Path:
    """A file of the data directory. Raises DataError saying how to name the directory when it is not there."""
    folder = directory or data_dir()
    if folder is None:
        raise DataError(
            f"task {task} reads {name} from a data directory: set {VARIABLE}, or the task's option data_dir"
        )
    path = folder / name
    if not path.is_file():
        raise DataError(f"task {task}: {path} is not there; {VARIABLE} must name the directory that holds {name}")
    return path


def texts_of(row: Mapping[str, Any], fields: Sequence[str], place: str) -> tuple[str, ...]:
    """What stands in ``fields``. Raises DataError naming ``place`` where one is missing, blank or not text."""
    values = tuple(str(row[field]) for field in fields if isinstance(row.get(field), str))
    if len(values) < len(fields) or not all(value.strip() for value in values):
        raise DataError(f"{place}: needs {' and '.join(map(repr, fields))}, all of them text")
    return values


def read_json_list(path: Path) -> list[dict[str, Any]]:
    """A JSON list of objects. Raises DataError naming the file."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON text: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: must be a JSON list of objects")
    return rows
