"""Where things are in a decoder-only model, found by its structure and not by the names of one architecture."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from easyedit_unlearn.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


def layer_names(model: nn.Module) -> list[str]:
    """The decoder layers in order: the model's outermost list of as many like modules as its config has layers.

    Raises:
        ConfigError: there is none.
    """
    from torch.nn import ModuleList

    count = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    for name, module in model.named_modules():
        if isinstance(module, ModuleList) and len(module) == count and len({type(layer) for layer in module}) == 1:
            return [f"{name}.{number}" for number in range(len(module))]
    raise ConfigError(f"{type(model).__name__} has no list of decoder layers that could be found", key="model_name")


def layer_name(model: nn.Module, number: int) -> str:
    """Raises ConfigError when the model has fewer layers."""
    names = layer_names(model)
    if not 0 <= number < len(names):
        raise ConfigError(f"{type(model).__name__} has the layers 0 to {len(names) - 1}", key="layer", value=number)
    return names[number]


def chosen_parameters(
    model: nn.Module, layers: Sequence[int] | None = None, modules: Collection[str] | None = None
) -> list[str]:
    """The names of the parameters in those decoder layers, and of modules whose own name is among ``modules``; all
    where neither is given.

    Raises:
        ConfigError: there is none, or the model has fewer layers.
    """
    inside = None if layers is None else tuple(f"{layer_name(model, number)}." for number in layers)
    names = [name for name, _ in model.named_parameters() if inside is None or name.startswith(inside)]
    owner = {name: f".{name}".split(".")[-2] for name in names}
    chosen = [name for name in names if modules is None or owner[name] in modules]
    if not chosen:
        there = ", ".join(sorted(set(owner.values())))
        raise ConfigError(f"names no module with parameters; there are {there}", key="target_modules", value=modules)
    return chosen


def mlp_output(model: nn.Module, layer: str) -> str:
    """The linear module of a decoder layer that writes the MLP's output: the last outside attention to give d_model
    (``mlp.down_proj`` in Llama, Mistral and Qwen, ``mlp.c_proj`` in GPT-2, ``mlp.dense_4h_to_h`` in GPT-NeoX).

    Raises:
        ConfigError: there is none, as in mixtures of experts.
    """
    from easyedit_unlearn.editors.modules import key_value_weight

    width = model.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
    if any("expert" in name for name, _ in model.get_submodule(layer).named_modules()):
        raise ConfigError(f"{type(model).__name__}: {layer} is a mixture of experts, with no one output", key="layer")
    found = [
        name
        for name, module in model.get_submodule(layer).named_modules()
        if type(module).__name__ in ("Linear", "Conv1D")
        and "attn" not in name and "attention" not in name
        and key_value_weight(module).shape[0] == width
    ]  # fmt: skip
    if not found:
        raise ConfigError(f"{type(model).__name__}: no output of the MLP could be found in {layer}", key="layer")
    return f"{layer}.{found[-1]}"
