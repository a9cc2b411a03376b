"""The release names ``cuda:{device}`` in some sixty places. Within :class:`CudaToCpu` those mean the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class CudaToCpu(TorchFunctionMode):
    """Maps every CUDA device argument of a torch function to the CPU; active only while the release runs."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.cuda:
            return args[0].cpu()
        mapped = {key: _to_cpu(value) for key, value in (kwargs or {}).items()}
        return func(*map(_to_cpu, args), **mapped)


def _to_cpu(value: Any) -> Any:
    is_cuda = (
        value.startswith("cuda") if type(value) is str else isinstance(value, torch.device) and value.type == "cuda"
    )
    return "cpu" if is_cuda else value
