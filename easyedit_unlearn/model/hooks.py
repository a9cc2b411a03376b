"""Find, watch and change a model's modules by EasyEdit's name templates, whatever the architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from easyedit_unlearn.errors import ConfigError


class _Enough(Exception):
    """Stops a forward pass early."""


def module_named(model: nn.Module, name: str) -> nn.Module:
    """Raises ConfigError when the hparams name a module that the model does not have."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise ConfigError(
            f"{type(model).__name__} has no module {name!r}; check layers and the *_module_tmp keys", key="module"
        ) from None


def key_value_weight(module: nn.Module) -> Tensor:
    """The weight as (d_value, d_key): ``nn.Linear`` stores it so, GPT-2's ``Conv1D`` transposed. A view, writable."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    return weight.T if type(module).__name__ == "Conv1D" else weight


def layer_shape(module: nn.Module) -> tuple[int, int] | None:
    """(d_value, d_key) of a linear module, also of one whose weight is packed (8-bit, 4-bit); None for any other."""
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    weight = getattr(module, "weight", None)
    if type(module).__name__ == "Conv1D" and isinstance(weight, Tensor):
        return weight.shape[1], weight.shape[0]
    return None


def by_rows(tensor: Tensor, rows: int) -> Tensor:
    """(rows, length, d): OPT gives its MLP the tokens of all rows in one line."""
    return tensor.reshape(rows, -1, tensor.shape[-1]) if tensor.dim() == 2 else tensor


@contextmanager
def changing(model: nn.Module, name: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within, the named module puts out ``change`` of its output."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        return with_hidden(output, change(hidden_of(output)))

    handle = module_named(model, name).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def hidden_of(output: Any) -> Tensor:
    """A decoder layer's hidden states: transformers 4 wraps them in a tuple, 5 does not."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


def with_hidden(output: Any, hidden: Tensor) -> Any:
    """``output`` with its hidden states replaced, in the form it came."""
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


@contextmanager
def watched(
    model: nn.Module, names: Iterable[str], see: Callable[[str, Tensor, Tensor], None], *, stop: bool = True
) -> Iterator[Callable[..., None]]:
    """Call ``see(name, input, output)`` for each named module; yields a forward function that stops after the last.

    Inputs are (batch, length, d_in), outputs (batch, length, d_out); neither may be changed.
    """
    waiting: set[str] = set()
    wanted = list(names)
    rows = [1]

    def hook_for(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            given = inputs[0] if inputs else kwargs["hidden_states"]
            see(name, by_rows(given, rows[0]), by_rows(hidden_of(output), rows[0]))
            waiting.discard(name)
            if stop and not waiting:
                raise _Enough

        return hook

    def forward(**inputs: Any) -> None:
        waiting.update(wanted)
        rows[0] = len(inputs["input_ids"])
        try:
            model(**inputs, use_cache=False)
        except _Enough:
            return

    with ExitStack() as stack:
        for name in wanted:
            handle = module_named(model, name).register_forward_hook(hook_for(name), with_kwargs=True)
            stack.callback(handle.remove)
        yield forward


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off, no gradients; the mode as it was afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


WRAPPERS = ("GRACEAdapter", "WISEAdapter", "DeferAdaptor")
"""The classes by which EasyEdit's GRACE, WISE and DEFER wrap a layer, by name: EasyEdit is not imported for this."""
