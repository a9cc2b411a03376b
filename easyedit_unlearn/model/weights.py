"""Weights are sacred: originals are kept before a change and put back bitwise when anything goes wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from easyedit_unlearn.environment import uninterrupted
from easyedit_unlearn.errors import ConfigError, DivergenceError, UnlearnError
from easyedit_unlearn.model.device import in_memory
from easyedit_unlearn.model.hooks import WRAPPERS
from easyedit_unlearn.model.memories import attached


class WeightGuard:
    """Copies of parameters as they were when first kept, on their own device, and the flags of the whole model."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.originals: dict[str, Tensor] = {}
        self._flags = {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()}
        self._modules = [(module, module.training, dict(module._modules)) for module in model.modules()]
        self._wrappers = [(m, _state_of(m)) for m in model.modules() if type(m).__name__ in WRAPPERS]
        self._use_cache = getattr(getattr(model, "config", None), "use_cache", None)
        self._checkpointing = checkpointing(model)
        self._hooks = [(hooks, dict(hooks)) for module in model.modules() for hooks in _hooks_of(module)]

    def keep(self, names: Iterable[str]) -> dict[str, Tensor]:
        """The named parameters as they are now, copied.

        A parameter that still equals its kept original shares that copy, so that a method's restore dictionary
        costs no second copy of the model.

        Raises:
            ConfigError: see :func:`check_writable`.
        """
        names = list(names)
        check_writable(self.model, names)
        parameters = dict(self.model.named_parameters())
        current: dict[str, Tensor] = {}
        for name in names:
            kept, now = self.originals.get(name), parameters[name].detach()
            current[name] = kept if kept is not None and torch.equal(kept, now) else now.clone()
            self.originals.setdefault(name, current[name])
        return current

    def check_finite(self) -> None:
        """Raise DivergenceError when a kept parameter is not finite now: nothing could be measured on such a model."""
        parameters = dict(self.model.named_parameters())
        for name in self.originals:
            if name in parameters and not torch.isfinite(parameters[name]).all():
                raise DivergenceError(
                    f"the edit left numbers that are not finite in {name}; the model is as it was before. Lower the "
                    "learning rate (learning_rate, v_lr)"
                )

    def restore(self) -> None:
        """Put every kept original back, the modules that an editor wrapped or hooked, and the flags; a Ctrl-C that
        arrives meanwhile takes effect afterwards."""
        with uninterrupted():
            self._restore()

    def _restore(self) -> None:
        for module, _training, children in self._modules:
            module._modules.clear()
            module._modules.update(children)
        self.restore_hooks()
        for module, state in self._wrappers:
            module.__dict__.update(deepcopy(state))
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, original in self.originals.items():
                parameters[name].copy_(original)
        self.reset_flags()

    def restore_hooks(self) -> None:
        """The forward hooks, which is how a memory acts beside a layer, as they were."""
        for hooks, before in self._hooks:
            hooks.clear()
            hooks.update(before)

    def reset_flags(self) -> None:
        """Put back ``requires_grad``, ``grad``, train/eval mode, cache and checkpointing: EasyEdit's ROME freezes the
        model it edits."""
        for name, parameter in self.model.named_parameters():
            if name in self._flags:  # an editor that wraps modules brings names of its own
                requires_grad, parameter.grad = self._flags[name]
                parameter.requires_grad_(requires_grad)
        for module, training, _children in self._modules:
            module.training = training
        if self._use_cache is not None:
            self.model.config.use_cache = self._use_cache  # type: ignore[union-attr]
        if not self._checkpointing:
            checkpointing_off(self.model)


WRITABLE = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def check_writable(model: nn.Module, names: Iterable[str]) -> None:
    """Raise unless the named parameters are there, in memory and plain numbers, so that a change can be added to them.

    Raises:
        ConfigError: the model has no such parameter. UnlearnError: it is offloaded, or packed to a few bits.
    """
    parameters = dict(model.named_parameters())
    for name in names:
        parameter = parameters.get(name)
        packed = getattr(getattr(model, "config", None), "quantization_config", None) is not None
        if parameter is None and not (packed and _has_module(model, name.rpartition(".")[0])):
            raise ConfigError(
                f"{type(model).__name__} has no parameter {name!r}: the hparams' layers and module names "
                "(rewrite_module_tmp) are for another model"
            )
        if parameter is None or parameter.dtype not in WRITABLE:
            kind = "packed" if parameter is None else str(parameter.dtype).removeprefix("torch.")
            raise UnlearnError(
                f"{name} is {kind} (a quantised model), so no change can be added to it: load the model unquantised "
                "(--dtype bfloat16), or use GRACE or ICR, which leave the weights alone"
            )
        if parameter.is_meta:
            raise UnlearnError(
                f"{name} is offloaded to disk, so no change can be added to it: give a device map that keeps the "
                "layers that change in memory, or use ICR"
            )


def _has_module(model: nn.Module, name: str) -> bool:
    return any(name == one for one, _ in model.named_modules())


def checkpointing(model: nn.Module) -> bool:
    """True if any module recomputes its activations."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def checkpointing_off(model: Any) -> None:
    """transformers 5 renamed the switch."""
    if checkpointing(model):
        getattr(model, "activation_checkpointing_disable", model.gradient_checkpointing_disable)()


def _hooks_of(module: nn.Module) -> tuple[dict[int, Any], ...]:
    return module._forward_hooks, module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs  # type: ignore[return-value]


def _state_of(wrapper: nn.Module) -> dict[str, Any]:
    """All that EasyEdit's GRACE and WISE change in place while they train: parameters, codebook, counters."""
    outer = ("_modules", "layer", "weight", "bias", "config", "original_layer")
    own = {key: value for key, value in wrapper.__dict__.items() if key not in outer}
    # a layer's last outputs may still be part of a graph; training overwrites them
    return {key: deepcopy(v) for key, v in own.items() if not isinstance(v, torch.Tensor) or v.is_leaf}


@contextmanager
def move(model: nn.Module, names: Iterable[str], factor: float) -> Iterator[None]:
    """What the named parameters have moved by at the end counts ``factor`` times; where 1, nothing is copied."""
    parameters = {} if factor == 1 else dict(model.named_parameters())
    before = {name: parameters[name].detach().clone() for name in names if parameters}
    yield
    with torch.no_grad():
        for name, start in before.items():
            moved = parameters[name].float() - start.float()  # zero where nothing changed
            parameters[name].copy_(start + factor * moved)


@contextmanager
def guarded(model: nn.Module, names: Iterable[str] = ()) -> Iterator[WeightGuard]:
    """Restore the kept parameters on any exception, Ctrl-C included; reset the flags in every case."""
    guard = WeightGuard(model)
    guard.keep(names)
    try:
        try:
            yield guard
            with uninterrupted():
                guard.reset_flags()
        except BaseException:
            guard.restore()
            raise
    except BaseException:
        guard.restore()  # again, for the Ctrl-C that came before the first one had begun
        raise


def raw(tensor: Tensor) -> Tensor:
    """Its bytes, (bytes,) of uint8, as they lie."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def add_tensor(whole: hashlib._Hash, name: str, tensor: Tensor) -> None:
    """Into a hash: name, shape, type and bytes."""
    whole.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
    whole.update(raw(tensor).numpy().data)


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over every parameter's name, shape, dtype and bytes, and every adapter's: any edit changes it.

    One second per 500 MB.
    """
    sha = hashlib.sha256()
    for name, parameter in model.named_parameters():
        add_tensor(sha, name, in_memory(model, name, parameter))
    for name, adapter in attached(model).items():
        sha.update(f"{name}/{adapter.method}".encode())
        for tensor in adapter.tensors.values():
            sha.update(tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()
