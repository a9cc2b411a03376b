"""What several processes of one training must agree on; alone, each is what it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def _several() -> bool:
    return bool(distributed.is_available() and distributed.is_initialized())


def averaged(value: Tensor) -> Tensor:
    """The mean of ``value`` over all processes."""
    if not _several():
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def anywhere(found: Any, device: torch.device) -> bool:
    """True if ``found`` in any process: an error raised in one alone would leave the others waiting for it."""
    if not _several():
        return bool(found)
    flag = torch.tensor(float(bool(found)), device=device)
    distributed.all_reduce(flag, distributed.ReduceOp.MAX)
    return bool(flag.item())
