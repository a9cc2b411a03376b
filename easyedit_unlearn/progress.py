"""A bar for each piece of work, on standard error, so that standard output stays the report."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text


class Bars:
    """``with Bars(console) as bars: advance = bars.progress("answering", 40); advance(8)``."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=console, redirect_stdout=False, redirect_stderr=False, disable=not console.is_terminal,
        )  # fmt: skip
        self._console = console

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def progress(self, what: str, total: int) -> Callable[[int], None]:
        """Open the bar of a piece of work; the one before stays where it ended."""
        if not self._console.is_terminal:  # logs get a line for each, not a redrawn bar
            self._console.print(Text(f"{what} ({total})"), soft_wrap=True)
        task = self._progress.add_task(what, total=total)
        return lambda done: self._progress.advance(task, done)
