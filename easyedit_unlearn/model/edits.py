"""What an unlearning run did to a model, kept so that it can be done and undone: changed weights, and what acts beside
them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from easyedit_unlearn.environment import uninterrupted
from easyedit_unlearn.model.memories import attach, attached, detach


@dataclass(frozen=True)
class Edit:
    """``weights``: by name, a parameter before and after. ``adapters``: by layer, before and after, None for none."""

    weights: Mapping[str, tuple[Tensor, Tensor]]
    adapters: Mapping[str, tuple[Any, Any]]

    def apply(self, model: PreTrainedModel) -> None:
        """Bitwise the edited model."""
        self._put(model, 1)

    def stands(self, model: PreTrainedModel) -> bool:
        """True if the model is, where this edit changed it, as the edit left it, or as it was before: an undoing may
        have failed half way."""
        parameters, beside = dict(model.named_parameters()), attached(model)
        return all(
            torch.equal(parameters[name], new) or torch.equal(parameters[name], old)
            for name, (old, new) in self.weights.items()
        ) and all(any(beside.get(name) is one for one in both) for name, both in self.adapters.items())

    def undo(self, model: PreTrainedModel) -> None:
        """Bitwise the model before."""
        self._put(model, 0)

    def _put(self, model: PreTrainedModel, which: int) -> None:
        parameters = dict(model.named_parameters())
        with uninterrupted(), torch.no_grad():
            for name, both in self.weights.items():
                parameters[name].copy_(both[which])
            for name, states in self.adapters.items():
                detach(model, name)
                if states[which] is not None:
                    attach(model, name, states[which])


class Snapshot:
    """The named parameters of a model, copied, and what acts beside its weights."""

    def __init__(self, model: PreTrainedModel, names: Iterable[str]) -> None:
        wanted = set(names)
        self._weights = {name: p.detach().clone() for name, p in model.named_parameters() if name in wanted}
        self._adapters = attached(model)

    def edit(self, model: PreTrainedModel) -> Edit:
        """What has changed since; what did not is not kept."""
        now, later = dict(model.named_parameters()), attached(model)
        weights = {
            name: (old, now[name].detach().clone())
            for name, old in self._weights.items()
            if not torch.equal(old, now[name])
        }
        adapters = {name: (self._adapters.get(name), later.get(name)) for name in self._adapters.keys() | later.keys()}
        return Edit(weights, {name: both for name, both in adapters.items() if both[0] is not both[1]})
