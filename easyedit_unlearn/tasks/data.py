"""Where the published data sets lie: read in place, never copied into the package."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.storage import cache_dir, json_lines, write_text

VARIABLE = "EASYEDIT_UNLEARN_DATA"
HUB = "hub"
"""In a directory's place: the published data sets are read from the Hub."""
_ON_HUB = {"tofu": "locuslab/TOFU"}
"""By folder of the data directory: the Hub's data set, whose configurations are named as the files are."""


def data_dir() -> Path | None:
    """The directory that ``EASYEDIT_UNLEARN_DATA`` names."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else None


def data_file(task: str, name: str, directory: Path | None = None) -> Path:
    """A file of the data directory, or of the Hub, which is asked once and then kept in the cache.

    Raises:
        DataError: it is not there; says how to name the directory.
    """
    folder = directory or data_dir()
    if folder == Path(HUB):
        return _from_hub(task, name)
    if folder is None:
        raise DataError(
            f"task {task} reads {name} from a data directory: set {VARIABLE}, or the task's option data_dir"
            + (f"; {VARIABLE}={HUB} reads it from the Hub" if name.split("/", maxsplit=1)[0] in _ON_HUB else "")
        )
    path = folder / name
    if not path.is_file():
        raise DataError(f"task {task}: {path} is not there; {VARIABLE} must name the directory that holds {name}")
    return path


def _from_hub(task: str, name: str) -> Path:
    """The rows of a data set as JSON lines in the cache."""
    folder, _, file = name.partition("/")
    if folder not in _ON_HUB:
        raise DataError(f"task {task}: {name} is not on the Hub; {VARIABLE} must name a directory that holds it")
    kept = cache_dir() / HUB / Path(name).with_suffix(".jsonl")
    if not kept.is_file():
        try:
            from datasets import load_dataset
        except ImportError:
            raise DataError('data of the Hub need: pip install "easyedit-unlearn[hub]"') from None
        try:
            rows = [dict(row) for row in load_dataset(_ON_HUB[folder], Path(file).stem, split="train")]
        except Exception as error:  # whatever the Hub, its cache or the network raise
            raise DataError(f"{_ON_HUB[folder]}, {Path(file).stem}: cannot be read from the Hub: {error}") from error
        write_text(kept, json_lines(rows))
    return kept


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
