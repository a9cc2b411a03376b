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
from easyedit_unlearn.leftovers import OLD, mark, sweep

ADAPTER_FILE = "unlearning_adapter.safetensors"
"""What lies beside the weights of a checkpoint unlearned with GRACE or WISE."""
JOURNAL = "easyedit_unlearn_journal.json"
"""In a checkpoint that an apply or revert of a delta is changing, until it is done."""
MANIFEST = "easyedit_unlearn_files.json"
"""In a folder of ours: the files there and below that this project wrote; nothing else is replaced or deleted."""


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
    sweep(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=mark(path))
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
            sweep(path)
            waiting[path] = path.with_name(f"{mark(path)}new")
            waiting[path].write_bytes(content)
        for path, written in waiting.items():
            written.replace(path)
    finally:
        for written in waiting.values():
            written.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """:func:`replace_file` with :func:`json_text`."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """JSON that every reader takes: a number that is not finite, such as a collapsed model's perplexity, is null."""
    return json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def json_lines(rows: Iterable[Any]) -> str:
    """The same, a value a line."""
    lines = (json.dumps(finite(row), ensure_ascii=False, allow_nan=False) for row in rows)
    return "".join(f"{line}\n" for line in lines)


def finite(value: Any) -> Any:
    """``value`` with None in place of every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A temporary sibling to fill; it takes the name ``path`` on success and replaces what we wrote there before.

    Raises:
        OutputExistsError: ``path`` holds something that is not ours; it is untouched then.
    """
    path = path.resolve()  # a link to a folder stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    filling = Path(tempfile.mkdtemp(dir=path.parent, prefix=mark(path)))
    try:
        yield filling
        _record(filling, _files(filling))
        filling.chmod(0o777 & ~_umask())
        old = path.with_name(f"{mark(path)}{OLD}")
        _refuse_strangers(path)
        with contextlib.suppress(FileNotFoundError):
            path.replace(old)
        filling.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(filling, ignore_errors=True)
        raise


def write_outputs(out: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder, by their names there, each atomically, and note that they are ours.

    Raises:
        OutputExistsError: a file of such a name is there that is not ours; nothing is written then.
    """
    _refuse_strangers(out, contents)
    for name, content in contents.items():
        _record(out, [name])
        replace_file(out / name, content)


def remove_outputs(folder: Path) -> None:
    """Delete a folder that we wrote, if it is there. Raises OutputExistsError where something in it is not ours."""
    _refuse_strangers(folder)
    shutil.rmtree(folder, ignore_errors=True)


def strangers(folder: Path) -> list[str]:
    """The files in ``folder`` and below that no manifest there names as ours, by their paths from it."""
    ours = {MANIFEST}
    for manifest in folder.rglob(MANIFEST):
        below = manifest.parent.relative_to(folder)
        ours |= {(below / name).as_posix() for name in (MANIFEST, *_recorded(manifest.parent))}
    return sorted(set(_files(folder)) - ours)


def prepare_output(out: Path, *, overwrite: bool, names: Iterable[str] | None = None) -> None:
    """Make ``out`` before anything costly runs. Raises OutputExistsError as :func:`check_output`."""
    check_output(out, overwrite=overwrite, names=names)
    out.mkdir(parents=True, exist_ok=True)


def check_output(
    out: Path, *, overwrite: bool, names: Iterable[str] | None = None, inputs: Iterable[str | Path] = ()
) -> None:
    """``out`` may be a folder that is not there, is empty, or with ``overwrite`` holds only our results.

    Args:
        names: what will be written in it, files and folders; by default it is replaced as a whole.
        inputs: what is read, none of which may be ``out`` or lie in it.

    Raises:
        OutputExistsError: it may not; says why.
    """
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"--out {out} is a file; name a directory")
    for path in map(Path, inputs):
        if path.exists() and path.resolve().is_relative_to(out.resolve()):
            raise OutputExistsError(f"{out} is or holds {path}, which is read; choose another --out")
    if names is None:
        _check_place(out)
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise OutputExistsError(f"{out} already holds results; choose another --out, or add --overwrite")
    _refuse_strangers(out, names)


def _check_place(out: Path) -> None:
    """A folder that is replaced as a whole is made beside ``out`` and takes its name."""
    if out.is_mount():
        raise OutputExistsError(f"--out {out} is a mount point, which cannot be replaced; name a folder in it")
    place = next(folder for folder in out.resolve().parents if folder.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputExistsError(f"--out {out}: {place} cannot be written to; choose another --out")


def check_file(path: Path, *, overwrite: bool) -> None:
    """A file may be written where there is none, or with ``overwrite``. Raises OutputExistsError."""
    if path.is_dir():
        raise OutputExistsError(f"--out {path} is a directory; name a file")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} is there already; --overwrite replaces it")


def _refuse_strangers(folder: Path, names: Iterable[str] | None = None) -> None:
    wanted = None if names is None else {name.rstrip("/") for name in names}
    found = [
        path
        for path in (strangers(folder) if folder.is_dir() else ())
        if wanted is None or any(path == name or path.startswith(f"{name}/") for name in wanted)
    ]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise OutputExistsError(
            f"{folder} holds {found[0]}{more}, not recorded as written by easyedit-unlearn and so never replaced; move "
            "it, or choose another --out"
        )


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()]


def _recorded(folder: Path) -> list[str]:
    try:
        found: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    names = found.get("files") if isinstance(found, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _record(folder: Path, names: Iterable[str]) -> None:
    """Note that we write these files; before they are there, so that none is ever left unknown."""
    known = set(_recorded(folder))
    if not known.issuperset(names):
        write_json(folder / MANIFEST, {"files": sorted(known.union(names) - {MANIFEST})})


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
