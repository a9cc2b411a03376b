"""Training in half precision: a step is smaller than what bfloat16 can tell apart, so weights are summed in float32."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.model.device import free_memory

_HALVES = (torch.float16, torch.bfloat16)
_FLOAT32 = 4


def in_float32(optimiser: Optimizer) -> Optimizer:
    """The same optimiser, which has taken no step yet: of every parameter in half precision it moves a copy in float32,
    and the parameter is that copy, rounded once.

    At a learning rate of 2e-5 a step of Adam is a sixth of the distance between neighbouring bfloat16 numbers of the
    size of a weight: without a copy all steps would be lost to rounding, or twice too large, and nothing would say so.
    Gradients stay in the model's own precision: those of float16 below 6e-8 are zero, for there is no loss scaling.
    """
    copies: list[tuple[nn.Parameter, nn.Parameter]] = []
    for group in optimiser.param_groups:
        for place, parameter in enumerate(group["params"]):
            if parameter.dtype in _HALVES:
                group["params"][place] = nn.Parameter(parameter.detach().float())
                copies.append((parameter, group["params"][place]))

    def before(*_: Any) -> None:
        for parameter, copy in copies:
            copy.grad = None if parameter.grad is None else parameter.grad.float()

    def after(*_: Any) -> None:
        with torch.no_grad():
            for parameter, copy in copies:
                parameter.copy_(copy)
                parameter.grad = copy.grad = None

    if copies:
        optimiser.register_step_pre_hook(before)
        optimiser.register_step_post_hook(after)
    return optimiser


def training_bytes(parameters: Iterable[nn.Parameter]) -> int:
    """What AdamW takes to train these: a gradient each and two moments; in half precision a copy in float32 too, and
    its gradient."""
    total = 0
    for parameter in parameters:
        size, half = parameter.element_size(), parameter.dtype in _HALVES
        total += parameter.numel() * (size + (4 * _FLOAT32 if half else 2 * size))
    return total


def check_memory(model: Any, names: Collection[str], what: str, instead: str) -> None:
    """Raise UnlearnError where there is less memory than training the named parameters takes: on a CPU the system would
    end the process instead. ``what`` trains them, ``instead`` is what to do."""
    needed = training_bytes(parameter for name, parameter in model.named_parameters() if name in names)
    free = free_memory(model)
    if needed > free:
        raise UnlearnError(
            f"{what}: training these weights takes {needed / 1e9:.1f} GB beside the model, and {free / 1e9:.1f} GB are "
            f"free; {instead}"
        )
