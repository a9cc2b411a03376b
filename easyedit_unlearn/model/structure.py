"""Paths of weights as EasyEdit's GRACE and WISE files write them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from torch import nn
from torch.nn import ModuleList

from easyedit_unlearn.errors import ConfigError
from easyedit_unlearn.model.hooks import key_value_weight

_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+|\[\d+\])*\Z")


def edited_layer(inner_params: Any) -> str:
    """``model.layers[20].mlp.down_proj.weight`` -> ``model.layers.20.mlp.down_proj``.

    Raises:
        ConfigError: not the path of one weight (EasyEdit would evaluate it as Python).
    """
    if not isinstance(inner_params, list) or len(inner_params) != 1 or not _PATH.match(str(inner_params[0])):
        raise ConfigError(
            "must name one weight, such as model.layers[20].mlp.down_proj.weight", key="inner_params",
            value=inner_params,
        )  # fmt: skip
    path = str(inner_params[0]).replace("[", ".").replace("]", "")
    return path.removesuffix(".weight").removesuffix(".bias")


def decoder_layers(name: str) -> list[str]:
    """The decoder layers up to the one that holds ``name``, in order."""
    before, number, _ = re.split(r"\.(\d+)\.", name, maxsplit=1) if re.search(r"\.\d+\.", name) else ("", "", "")
    if not number:
        raise ConfigError(f"{name!r} does not lie in a numbered decoder layer", key="inner_params")
    return [f"{before}.{i}" for i in range(int(number) + 1)]


def layer_names(model: nn.Module) -> list[str]:
    """The decoder layers in order: the model's outermost list of as many like modules as its config has layers.

    Raises:
        ConfigError: there is none.
    """
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


def parameters_of(model: nn.Module, modules: Sequence[str]) -> list[str]:
    """The names of the parameters in the named modules; where there are none, one that no model has, for a guard to
    refuse with a message."""
    inside = tuple(f"{name}." for name in modules)
    return [name for name, _ in model.named_parameters() if name.startswith(inside)] or [f"{inside[0]}weight"]
