"""Weights are sacred: originals are kept before a change and put back bitwise when anything goes wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


class WeightGuard:
    """Copies of parameters as they were when first kept, on their own device."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.originals: dict[str, Tensor] = {}
        self._trainable = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
        self._training = model.training

    def keep(self, names: Iterable[str]) -> dict[str, Tensor]:
        """The named parameters as they are now, copied.

        A parameter that still equals its kept original shares that copy, so that a method's restore dictionary
        costs no second copy of the model.
        """
        parameters = dict(self.model.named_parameters())
        current: dict[str, Tensor] = {}
        for name in names:
            kept, now = self.originals.get(name), parameters[name].detach()
            current[name] = kept if kept is not None and torch.equal(kept, now) else now.clone()
            self.originals.setdefault(name, current[name])
        return current

    def restore(self) -> None:
        """Put every kept original back, and the flags that training and editors change."""
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, original in self.originals.items():
                parameters[name].copy_(original)
        self.reset_flags()

    def reset_flags(self) -> None:
        """Put back ``requires_grad``, ``grad`` and train/eval mode: EasyEdit's ROME freezes the model it edits."""
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self._trainable[name])
            parameter.grad = None
        self.model.train(self._training)


@contextmanager
def guarded(model: nn.Module, names: Iterable[str] = ()) -> Iterator[WeightGuard]:
    """Restore the kept parameters on any exception, Ctrl-C included; reset the flags in every case."""
    guard = WeightGuard(model)
    guard.keep(names)
    try:
        yield guard
    except BaseException:
        guard.restore()
        raise
    guard.reset_flags()
