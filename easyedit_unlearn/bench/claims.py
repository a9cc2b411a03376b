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

    def take(self, key: str) -> bool:
        """True if the job is this bench's now, False while it is another's."""
        lock = self._lock(key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._mine[key] = lock
        return True

    def await_other(self, key: str) -> None:
        """Return when no other bench works on a job. It is nobody's then: who waits holds nothing, or two might wait
        for each other."""
        self._mine[key] = self._lock(key)
        self._mine[key].acquire()
        self.leave(key)

    def leave(self, key: str) -> None:
        """After what came of it is written."""
        if lock := self._mine.pop(key, None):
            Path(lock.lock_file).unlink(missing_ok=True)  # while it is locked: who opened it finds the outcome
            lock.release()

    def _lock(self, key: str) -> FileLock:
        return FileLock(self._folder / f".{key}.lock", thread_local=False)

    def leave_all(self) -> None:
        for key in list(self._mine):
            self.leave(key)
