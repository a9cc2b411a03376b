"""Read the rows of a file as people have them: JSON lines, a JSON list or mapping, CSV, Parquet, a Hub data set."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.tasks.fields import is_record

Row = Mapping[str, Any]
Placed = tuple[str, int, Row]
"""Where a row stands, for complaints; its number from 1; and the row."""
LARGEST = 1 << 29
"""Bytes of a file that is read whole."""
_LISTS = ("data", "rows", "samples", "questions", "examples")
"""Keys under which a JSON object may hold its list."""
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


def rows_of(path: Path) -> list[Placed]:
    """All rows, by the file's suffix; anything else is read as JSON lines.

    Raises:
        DataError: it cannot be read, is larger than 512 MB, or a row is no object.
    """
    if path.suffix == ".parquet":
        return _parquet(path)
    text = _text(path)
    if path.suffix in (".csv", ".tsv"):
        return _csv(path, text)
    if path.suffix == ".json" and (whole := _whole(path, text)) is not None:
        return whole
    return _lines(path, text)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path}: has {path.stat().st_size / 1e6:,.0f} MB; at most {LARGEST / 1e6:,.0f} are read")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start})") from None


def _lines(path: Path, text: str) -> list[Placed]:
    # Not str.splitlines(): JSON strings may hold U+2028 and its like.
    numbered = [(n, f"{path}, line {n}", line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return [(place, n, _row(_json(line, place), place)) for n, place, line in numbered]


def _whole(path: Path, text: str) -> list[Placed] | None:
    """A JSON list of objects, an object that holds one, or one of questions and answers; None for JSON lines."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        if len([line for line in text.split("\n") if line.strip()]) > 1 and text.lstrip().startswith("{"):
            return None  # JSON lines under another name
        raise DataError(f"{path}: is not JSON: {error}") from None
    if isinstance(found, dict):
        lists = [found[key] for key in _LISTS if isinstance(found.get(key), list)]
        if len(lists) == 1:
            found = lists[0]
        elif found and all(isinstance(value, str) for value in found.values()) and not is_record(found):
            found = [{"question": question, "answer": answer} for question, answer in found.items()]
        else:
            found = [found]
    if not isinstance(found, list):
        raise DataError(f"{path}: must be a JSON list of objects, got {type(found).__name__}")
    places = [(f"{path}, item {n}", n, row) for n, row in enumerate(found, start=1)]
    return [(place, n, _row(row, place)) for place, n, row in places]


def _csv(path: Path, text: str) -> list[Placed]:
    first = text.split("\n", 1)[0]
    separator = "\t" if path.suffix == ".tsv" else max(",;\t", key=first.count)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}: is not CSV: {error}") from None
    for number, row in rows:
        if None in row:  # type: ignore[comparison-overlap]
            raise DataError(f"{path}, line {number}: has more fields than the header; put text that holds "
                            f"{separator!r} in double quotes")  # fmt: skip
    # an empty field says nothing
    kept = [(n, {k.strip(): v for k, v in row.items() if k and v not in (None, "")}) for n, row in rows]
    return [(f"{path}, line {number}", n, row) for n, (number, row) in enumerate(kept, start=1) if row]


def _parquet(path: Path) -> list[Placed]:
    if path.is_file() and path.stat().st_size > LARGEST:
        raise DataError(f"{path}: has {path.stat().st_size / 1e6:,.0f} MB; at most {LARGEST / 1e6:,.0f} are read")
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(f'{path}: Parquet needs: pip install "easyedit-unlearn[hub]"') from None
    try:
        rows = parquet.read_table(path).to_pylist()
    except Exception as error:  # whatever pyarrow raises
        raise DataError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())}") from None
    return [(f"{path}, row {n}", n, row) for n, row in enumerate(rows, start=1)]


def _json(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: is not JSON: {error}") from None


def _row(value: Any, place: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{place}: must be a JSON object with 'question' and 'answer', got {type(value).__name__}")
    return value
