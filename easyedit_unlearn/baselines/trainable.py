"""Which weights train, and the switches on a model that training turns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from easyedit_unlearn.model.weights import checkpointing, checkpointing_off


@contextmanager
def trainable(model: Any, names: Collection[str] | None) -> Iterator[None]:
    """The named parameters, or all, train within, without dropout: what is remembered of the frozen model is so too.
    Afterwards the Trainer's switches on the model are as they were."""
    use_cache, recomputes = getattr(model.config, "use_cache", None), checkpointing(model)
    training, device, forward = model.training, model.device, model.__dict__.get("forward")
    dropouts = [(module, name) for module in model.modules() for name in _DROPOUTS if _is_dropout(module, name)]
    rates = [getattr(module, name) for module, name in dropouts]
    for module, name in dropouts:
        setattr(module, name, 0.0)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(names is None or name in names)
    try:
        with torch.enable_grad():
            yield
    finally:
        if not recomputes:
            checkpointing_off(model)
        if use_cache is not None:
            model.config.use_cache = use_cache
        for (module, name), rate in zip(dropouts, rates, strict=True):
            setattr(module, name, rate)
        model.train(training)
        model.__dict__.pop("forward", None)  # accelerate wraps it for mixed precision
        if forward is not None:
            model.__dict__["forward"] = forward
        if model.device != device and not getattr(model, "hf_device_map", None):
            model.to(device)  # the Trainer trains on the first GPU


_DROPOUTS = ("p", "attention_dropout", "attn_dropout", "hidden_dropout")


def _is_dropout(module: Any, name: str) -> bool:
    return (name != "p" or isinstance(module, torch.nn.Dropout)) and isinstance(getattr(module, name, None), float)
