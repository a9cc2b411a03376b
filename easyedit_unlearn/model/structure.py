"""A decoder's layers, its MLPs' output modules and what becomes of their output, found by structure and by looking."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import ModuleList

from easyedit_unlearn.errors import ConfigError
from easyedit_unlearn.model.hooks import changing, evaluating, layer_shape, watched

_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+|\[\d+\])*\Z")
_NOT_TEXT = re.compile(r"(^|\.)(vision|visual|audio|image|speech|encoder|mtp|nextn)\w*(\.|$)|vision_tower|audio_tower")
_MIXER = re.compile(
    r"attn|attention|mamba|mixer|(^|\.)conv|recurrent|temporal_block|time_mix|altup|laurel|per_layer", re.I
)
_MLP = re.compile(r"(^|\.)(mlp|ffn?|feed_?forward\w*|ffn_block|channel_mixing)(\.|$)", re.I)
_EXPERTS = re.compile(r"expert|moe\b|_moe|moe_|router", re.I)
BESIDE_EXPERTS = "NPO, GradDiff, PO, ICR and the other baselines but RMU do work"


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


def text_config(model: Any) -> Any:
    """Of a wrapper for several modalities, the language model's."""
    config = getattr(model, "config", None)
    told = getattr(config, "get_text_config", None)
    return config if told is None else told(decoder=True)


def context_length(model: Any) -> int | None:
    """How many tokens the model can be given at once, where its config says so."""
    return getattr(text_config(model), "max_position_embeddings", None)


def layer_names(model: nn.Module) -> list[str]:
    """The decoder layers in order: of the outermost lists of modules outside image and sound towers, the one as long
    as the config says, else the largest.

    Raises:
        ConfigError: there is none.
    """
    count = getattr(text_config(model), "num_hidden_layers", None)
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, ModuleList)
        and len(module)
        and not re.search(r"\.\d+\.", name)
        and not _NOT_TEXT.search(name)
    }
    if not lists:
        raise ConfigError(f"{type(model).__name__} has no list of decoder layers that could be found", key="model_name")
    sizes = {name: (len(m) == count, sum(p.numel() for p in m.parameters())) for name, m in lists.items()}
    best = max(sizes, key=lambda name: sizes[name])
    return [f"{best}.{number}" for number in range(len(lists[best]))]


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
    """The linear module of a decoder layer that writes the MLP's output: the last outside attention, and inside the
    MLP where it has a name, to give d_model (``mlp.down_proj`` in Llama, Mistral and Qwen, ``mlp.c_proj`` in GPT-2,
    ``mlp.dense_4h_to_h`` in GPT-NeoX, ``fc2`` in OPT).

    Raises:
        ConfigError: there is none, as in mixtures of experts.
    """
    whole = model.get_submodule(layer)
    if any(_EXPERTS.search(f"{name}/{type(module).__name__}") for name, module in whole.named_modules() if name):
        raise ConfigError(
            f"{type(model).__name__}: {layer} is a mixture of experts, with no one MLP to edit; {BESIDE_EXPERTS}",
            key="layers",
        )
    width = getattr(text_config(model), "hidden_size", None)
    width = width or model.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
    found = [
        name
        for name, module in whole.named_modules()
        if name and not _MIXER.search(name) and (shape := layer_shape(module)) is not None and shape[0] == width
    ]
    inside = [name for name in found if _MLP.search(name)]
    if not found:
        raise ConfigError(
            f"{type(model).__name__}: {layer} has no MLP whose output could be found; NPO, GradDiff, PO and ICR work "
            "without one", key="layers",
        )  # fmt: skip
    return f"{layer}.{(inside or found)[-1]}"


def stream_share(model: Any, layer: str, module: str) -> float | None:
    """What a change of the module's output is multiplied by on its way into the layer's output: 1 where it is added as
    it is, less in Granite; None where the two are not proportional (Gemma-2/3 and OLMo-2 have a norm between them).

    Told by trying: the module's output is changed at one token by d and by 2 d.
    """
    ids = torch.arange(5, 10, device=model.get_input_embeddings().weight.device)[None]
    seen: list[Tensor] = []
    with evaluating(model), watched(model, [layer], lambda _n, _g, out: seen.append(out)) as forward:
        forward(input_ids=ids)
        start = seen[0][0, -1].float()
        shape = layer_shape(model.get_submodule(module))
        if seen[0].dim() != 3 or shape is None or shape[0] != len(start):
            return None
        draw = torch.Generator().manual_seed(0)
        change = torch.randn(len(start), generator=draw).to(start)
        change *= start.norm() / change.norm()
        for factor in (1, 2):
            with changing(model, module, partial(_at_last, by=factor * change)):
                forward(input_ids=ids)
    if len(seen) != 3:
        return None
    once, twice = (hidden[0, -1].float() - start for hidden in seen[1:])
    share = float(once @ change / change.square().sum())
    apart = (twice - 2 * share * change).norm() + (once - share * change).norm()
    if not share > 0 or float(apart) > 0.1 * share * float(change.norm()):
        return None
    return 1.0 if abs(share - 1) < 0.02 else share


def _at_last(output: Tensor, by: Tensor) -> Tensor:
    changed = output.clone()
    changed[..., -1, :] += by.to(output)
    return changed


def parameters_of(model: nn.Module, modules: Sequence[str]) -> list[str]:
    """The names of the parameters in the named modules; where there are none, one that no model has, for a guard to
    refuse with a message."""
    inside = tuple(f"{name}." for name in modules)
    return [name for name, _ in model.named_parameters() if name.startswith(inside)] or [f"{inside[0]}weight"]
