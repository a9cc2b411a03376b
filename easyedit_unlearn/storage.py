"""Outputs appear whole or not at all, and never over somebody's earlier results."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from easyedit_unlearn.errors import OutputExistsError

ADAPTER_FILE = "unlearning_adapter.safetensors"
"""What lies beside the weights of a checkpoint unlearned with GRACE or WISE."""


def cache_dir() -> Path:
    """``EASYEDIT_UNLEARN_CACHE``, else the user's cache directory."""
    named = os.environ.get("EASYEDIT_UNLEARN_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "easyedit-unlearn"


def write_text(path: Path, text: str) -> None:
    """:func:`replace_file` with UTF-8 text."""
    replace_file(path, text.encode("utf-8"))


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old content or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o666 & ~_umask())  # mkstemp makes private files; results are for reading
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def replace_files(contents: Mapping[Path, bytes]) -> None:
    """:func:`replace_file` for several: all are written before the first takes its place."""
    waiting: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            waiting[path] = path.with_name(f".{path.name}.{os.getpid()}")
            waiting[path].write_bytes(content)
        for path, written in waiting.items():
            written.replace(path)
    finally:
        for written in waiting.values():
            written.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """JSON that every reader takes: a number that is not finite, such as a collapsed model's perplexity, is null."""
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """The same, a value a line."""
    lines = (json.dumps(finite(row), ensure_ascii=False, allow_nan=False) for row in rows)
    write_text(path, "".join(f"{line}\n" for line in lines))


def finite(value: Any) -> Any:
    """``value`` with None in place of every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A temporary sibling to fill; it takes the name ``path`` on success and replaces what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    filling = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield filling
        filling.chmod(0o777 & ~_umask())
        old = path.with_name(f".{path.name}.old-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            path.replace(old)
        filling.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(filling, ignore_errors=True)
        raise


def prepare_output(out: Path, *, overwrite: bool) -> None:
    """Make ``out`` before anything costly runs. Raises OutputExistsError as :func:`check_output`."""
    check_output(out, overwrite=overwrite)
    out.mkdir(parents=True, exist_ok=True)


def check_output(out: Path, *, overwrite: bool) -> None:
    """Raise OutputExistsError when ``out`` is a file, or holds results and ``overwrite`` is not set."""
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"--out {out} is a file; name a directory")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise OutputExistsError(f"{out} already holds results; choose another --out, or add --overwrite")


def sha256_of(path: Path) -> str:
    """Of a file's content, read piece by piece."""
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            whole.update(block)
    return whole.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
