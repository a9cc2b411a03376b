"""Several processes evaluate one model together (``accelerate launch``, ``torchrun``): each asks its share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Process:
    """Which of ``count`` processes this is; ``device``: where its model goes, None for where transformers puts it."""

    rank: int = 0
    count: int = 1
    device: Any = None

    @property
    def main(self) -> bool:
        """True for the one that writes and prints."""
        return self.rank == 0


_here: ContextVar[Process | None] = ContextVar("process", default=None)


@contextmanager
def together() -> Iterator[Process]:
    """Within, :func:`shared_out` shares out among the processes that a launcher has started; alone, nothing changes."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Process()
        return
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    token = _here.set(Process(state.process_index, state.num_processes, state.device))
    try:
        yield _here.get() or Process()
    finally:
        _here.reset(token)
        state.destroy_process_group()


def alone() -> bool:
    """True if this process evaluates by itself."""
    return _here.get() is None


def shared_out(items: Sequence[T], compute: Callable[[Sequence[T]], list[R]]) -> list[R]:
    """``compute`` of all items, in order: every process does each n-th of them, and all get the whole."""
    here = _here.get()
    if here is None:
        return compute(items)
    from torch import distributed

    parts: list[list[R]] = [[] for _ in range(here.count)]
    distributed.all_gather_object(parts, compute(items[here.rank :: here.count]))
    whole: list[Any] = [None] * len(items)
    for rank, part in enumerate(parts):
        whole[rank :: here.count] = part
    return whole
