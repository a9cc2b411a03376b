"""Where a model is given its tokens, and where its weights are."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from easyedit_unlearn.errors import UnlearnError


def in_memory(model: Any, name: str, parameter: Any) -> Any:
    """The named parameter, read from where accelerate offloaded it to where it is."""
    if not parameter.is_meta:
        return parameter
    module, _, own = name.rpartition(".")
    hook = getattr(model.get_submodule(module), "_hf_hook", None)
    for one in getattr(hook, "hooks", None) or [hook]:
        weights = getattr(one, "weights_map", None)
        if weights is not None:
            return weights[own]
    raise UnlearnError(f"{name} has no values (it is on the meta device): load the model with its weights")


def device_of(model: Any) -> Any:
    """The torch device of a model's embeddings, or the one that they are brought to when they are offloaded."""
    embeddings = model.get_input_embeddings()
    if not embeddings.weight.is_meta:
        return embeddings.weight.device
    import torch

    hook = getattr(embeddings, "_hf_hook", None)
    return torch.device(getattr(hook, "execution_device", None) or "cpu")


def free_memory(model: Any) -> int:
    """Bytes free where the model's weights are, over all their devices; what torch holds in reserve is free."""
    import psutil
    import torch

    devices = {parameter.device for parameter in model.parameters()}
    free = sum(
        torch.cuda.mem_get_info(one)[0] + torch.cuda.memory_reserved(one) - torch.cuda.memory_allocated(one)
        for one in devices
        if one.type == "cuda"
    )
    return int(free or psutil.virtual_memory().available)


Products = Literal["auto", "bfloat16", "float32"]
WIDE = 256
"""Width of the stream from which on a matrix product in bfloat16 repays its casts."""


def products(model: Any, wanted: Products = "auto") -> AbstractContextManager[Any]:
    """Within, the matrix products of a float32 model are computed in bfloat16 (autocast: norms and the residual
    stream stay float32); ``auto``: where its device has instructions for them, which make them several times faster."""
    import torch

    device = device_of(model)
    wide = getattr(model.config.get_text_config(), "hidden_size", 0) or 0
    auto = wide >= WIDE and model.dtype == torch.float32 and multiplies_bfloat16(device)
    if not (auto if wanted == "auto" else wanted == "bfloat16"):
        return nullcontext()
    context: AbstractContextManager[Any] = torch.autocast(device.type, torch.bfloat16)
    return context


def multiplies_bfloat16(device: Any) -> bool:
    """True if a device has instructions for matrix products in bfloat16."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    if device.type != "cpu":
        return False
    asked = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(ask() for ask in asked if ask)
