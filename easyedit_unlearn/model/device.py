"""Where a model is given its tokens, and where its weights are."""

from __future__ import annotations

from typing import Any

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
