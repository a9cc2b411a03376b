"""The release names ``cuda:{device}`` in some sixty places. Within :class:`CudaToCpu` those mean the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_active: ContextVar[CudaToCpu | None] = ContextVar("CudaToCpu", default=None)


class CudaToCpu(TorchFunctionMode):
    """Maps every CUDA device argument of a torch function to the CPU; active only while the release runs."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.cuda:
            return args[0].cpu()
        mapped = {key: _to_cpu(value) for key, value in (kwargs or {}).items()}
        return func(*map(_to_cpu, args), **mapped)

    def __enter__(self) -> CudaToCpu:
        self._outer = _active.set(self)
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        _active.reset(self._outer)


@contextmanager
def our_own_code() -> Iterator[None]:
    """Within, no torch function is looked at: our own methods take devices from the model, and looking costs time."""
    mode = _active.get()
    if mode is None:
        yield
        return
    mode.__exit__(None, None, None)
    try:
        yield
    finally:
        mode.__enter__()


def _to_cpu(value: Any) -> Any:
    is_cuda = (
        value.startswith("cuda") if type(value) is str else isinstance(value, torch.device) and value.type == "cuda"
    )
    return "cpu" if is_cuda else value
