"""A failure at any line that this project's own code runs."""

from __future__ import annotations

import linecache
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import easyedit_unlearn

PACKAGE = str(Path(easyedit_unlearn.__file__).parent)


class Injected(Exception):
    """What goes wrong; nobody expects it by name."""


def error() -> None:
    raise Injected


def out_of_memory() -> None:
    raise MemoryError


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_twice() -> None:
    interrupt()
    interrupt()


KINDS: tuple[Callable[[], None], ...] = (error, out_of_memory, interrupt, interrupt_twice)


def leaves_a_block(frame: FrameType) -> bool:
    """True on a line that opens a with block, which is also run when that is left: there no error can come up, only a
    signal."""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")


@contextmanager
def failing(at: int | None, what: Callable[[], None] = error) -> Iterator[list[str]]:
    """Within, ``what`` happens at the ``at``-th line of the package's code that runs; never where that is None. The
    list: where that was, and of how many lines it was the last."""
    seen, place = [0], list[str]()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line" and not (what in (error, out_of_memory) and leaves_a_block(frame)):
            seen[0] += 1
            if at is not None and seen[0] == at + 1:
                place.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
                what()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield place
    finally:
        sys.settrace(before)
        place.append(str(seen[0]))
