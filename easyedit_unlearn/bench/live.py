"""The live table of a bench: what runs, what is done, and for how long it will go on."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from easyedit_unlearn.bench.cells import Outcome
from easyedit_unlearn.report.terminal import printable


class Live:
    """On a terminal a table that redraws itself, elsewhere a line for each cell that ends.

    ``names``: of all jobs, by key. ``before``: how many cells were there already. ``jobs``: how many run at once.
    """

    def __init__(self, console: Console, names: dict[str, str], before: int, jobs: int) -> None:
        self.names, self._console, self._jobs = dict(names), console, jobs
        self._total, self._before, self._ended, self._failed = len(names), before, 0, 0
        self._running: dict[str, tuple[float, str]] = {}
        self._seconds: list[float] = []
        self._lock = threading.Lock()
        self._live = RichLive(console=console, get_renderable=self._table, refresh_per_second=2, transient=True)

    def __enter__(self) -> Live:
        if self._before:
            self._console.print(Text(f"{self._before} of {self._total} cells are there already"))
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def said(self, key: str, what: str) -> None:
        """A job does this now."""
        with self._lock:
            start, _ = self._running.get(key, (time.monotonic(), ""))
            self._running[key] = start, what

    def done(self, key: str, outcome: Outcome | None) -> None:
        """A job ended; None: it was no cell, and counts for nothing."""
        with self._lock:
            start, _ = self._running.pop(key, (time.monotonic(), ""))
            seconds = time.monotonic() - start
            if outcome is not None:
                self._seconds.append(seconds)
                self._ended += 1
                self._failed += outcome["status"] != "done"
            done, left = self._before + self._ended, self.left()
        error = f": {outcome['error']}" if outcome and outcome["status"] != "done" else ""
        line = f"[{done}/{self._total}] {self.names[key]} {seconds:.0f} s{error}{f', {left} left' if left else ''}"
        self._console.print(Text(printable(line), style="red" if error else ""), soft_wrap=True)

    def left(self) -> str:
        """By the mean of the cells so far; empty where nothing is known or left."""
        remaining = self._total - self._before - self._ended
        if not self._seconds or not remaining:
            return ""
        mean = sum(self._seconds) / len(self._seconds)
        return str(timedelta(seconds=round(mean * remaining / min(self._jobs, remaining))))

    def _table(self) -> Any:
        with self._lock:
            running, left = dict(self._running), self.left()
            told = f"{self._before + self._ended} of {self._total} cells, {self._failed} failed"
        table = Table("running", "seconds", "progress", expand=False)
        for key, (start, what) in running.items():
            table.add_row(Text(self.names[key]), f"{time.monotonic() - start:.0f}", Text(what))
        return Group(Text(f"{told}{f', about {left} left' if left else ''}"), table)
