"""Who runs a cell, where several benches have one folder: each is run once, and none waits while others are to do."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout


class Claims:
    """In a folder that is there, a file for each job in work, locked by whoever works on it; a process that dies leaves
    it unlocked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mine: dict[str, FileLock] = {}

    def take(self, key: str, *, wait: float = 0) -> bool:
        """True if the job is this bench's now; ``wait``: for so many seconds at most while it is another's, -1 for
        ever."""
        if key in self._mine:
            return True
        lock = FileLock(self._folder / f".{key}.lock", timeout=wait, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return False
        self._mine[key] = lock
        return True

    def leave(self, key: str) -> None:
        """After what came of it is written."""
        if lock := self._mine.pop(key, None):
            Path(lock.lock_file).unlink(missing_ok=True)  # while it is locked: who opened it finds the outcome
            lock.release()

    def leave_all(self) -> None:
        for key in list(self._mine):
            self.leave(key)
