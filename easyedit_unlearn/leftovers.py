"""What is in work beside an output until it takes its place, and what a killed process left of that."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import shutil
import socket
from functools import cache
from pathlib import Path

OLD = "old"


def mark(path: Path) -> str:
    """How what is in work beside ``path`` begins: whose it is, so that it can be swept away when that one is dead."""
    return f".{path.name}.{_machine()}-{os.getpid()}."


@cache
def _machine() -> str:
    """Where a process number means one process: this host since it started, and within it this container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:12]


def sweep(path: Path) -> None:
    """Remove what processes of this machine left beside ``path`` when they were killed. What was there before comes
    back, where one was killed between moving that away and putting the new in its place."""
    mine = re.compile(rf"\.{re.escape(path.name)}\.{_machine()}-(\d+)\.(.+)")
    for one in path.parent.glob(f".{glob.escape(path.name)}.*"):
        found = mine.fullmatch(one.name)
        if found is None or _lives(int(found[1])):
            continue
        with contextlib.suppress(FileNotFoundError):  # another sweeps as well
            if found[2] == OLD and not path.exists():
                one.replace(path)
            elif one.is_dir() and not one.is_symlink():
                shutil.rmtree(one, ignore_errors=True)
            else:
                one.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(process))
