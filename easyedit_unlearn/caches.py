"""What is kept on disk because it costs minutes to make again; within a limit, the longest unused goes first.

Everything here may be deleted at any time, by anybody; a file that is missing, cannot be read or cannot be written
costs time and nothing else.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from easyedit_unlearn.errors import OutputExistsError
from easyedit_unlearn.storage import cache_dir, remove_outputs

KINDS = {
    "statistics": "second moments of keys, by model, layer and text",
    "projections": "null spaces of wide layers",
    "evaluations": "what untouched models replied",
    "targets": "refusals that models wrote",
}
"""The folders that are kept within the limit, and what is in them."""
VARIABLE = "EASYEDIT_UNLEARN_CACHE_GB"
LIMIT = 4.0
"""Gigabytes (10^9 bytes) of all of them together, unless ``EASYEDIT_UNLEARN_CACHE_GB`` says otherwise."""
_ENTRY = re.compile(r"[0-9a-f]{20,64}(\.json|\.safetensors)?")
_ORPHAN = re.compile(r"\.[0-9a-f]{20,64}\S*")
_DEAD = 24 * 3600
"""Seconds after which a temporary file belongs to nobody."""


@dataclass(frozen=True)
class Entry:
    """One file, or a folder of an earlier version: its kind, size in bytes, and when it was last used (epoch)."""

    kind: str
    path: Path
    size: int
    used: float


def folder_of(kind: str) -> Path:
    """Where entries of this kind lie."""
    return cache_dir() / kind


def entry(kind: str, key: str, suffix: str = ".safetensors") -> Path:
    """Where what ``key`` names (hexadecimal) is kept."""
    return folder_of(kind) / f"{key}{suffix}"


def read(path: Path) -> bytes | None:
    """What is kept there, which counts as used now; None where it cannot be read."""
    with suppress(OSError):
        content = path.read_bytes()
        with suppress(OSError):
            os.utime(path)
        return content
    return None


def keep(path: Path, content: bytes) -> None:
    """Keep it there, and make room. A disk that is full or cannot be written is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).replace(path)  # of two that arrive at once the later stays: they are the same
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        make_room(keeping=path)


def entries() -> list[Entry]:
    """All that is kept, the longest unused first."""
    return sorted((one for kind in KINDS for one in _entries(kind)), key=lambda one: one.used)


def limit_bytes() -> int:
    """Raises nothing: what is no number, or below 0, counts as not said; ``inf`` is no limit."""
    try:
        said = float(os.environ.get(VARIABLE, ""))
    except ValueError:
        said = LIMIT
    return int(min(said if said >= 0 else LIMIT, 1e9) * 1e9)


def make_room(*, keeping: Path | None = None) -> None:
    """Delete what was not used for longest until the rest is within the limit, and what a killed process left."""
    for kind in KINDS:
        _sweep(folder_of(kind))
    kept = entries()
    total, most = sum(one.size for one in kept), limit_bytes()
    for one in kept:
        if total <= most:
            break
        if one.path != keeping:
            _delete(one.path)
            total -= one.size


def clear(kinds: Sequence[str] = tuple(KINDS)) -> int:
    """Delete all entries of these kinds, and nothing else that lies there. Returns the bytes that were freed."""
    gone = [one for one in entries() if one.kind in kinds]
    for one in gone:
        _delete(one.path)
    return sum(one.size for one in gone)


def _entries(kind: str) -> Iterator[Entry]:
    with suppress(OSError):
        for path in sorted(folder_of(kind).iterdir()):
            if not _ENTRY.fullmatch(path.name) or path.is_symlink():
                continue
            with suppress(OSError):
                files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
                used = max(file.stat().st_mtime for file in [path, *files])
                yield Entry(kind, path, sum(file.stat().st_size for file in files), used)


def _delete(path: Path) -> None:
    with suppress(OSError, OutputExistsError):  # of a folder, only what its manifest names as ours
        if path.is_dir():
            remove_outputs(path)
        else:
            path.unlink()


def _sweep(folder: Path) -> None:
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                if _ORPHAN.fullmatch(path.name) and time.time() - path.stat().st_mtime > _DEAD:
                    _delete(path)
