"""Where a model is given its tokens."""

from __future__ import annotations

from typing import Any


def device_of(model: Any) -> Any:
    """The torch device of a model's embeddings, or the one that they are brought to when they are offloaded."""
    embeddings = model.get_input_embeddings()
    if not embeddings.weight.is_meta:
        return embeddings.weight.device
    import torch

    hook = getattr(embeddings, "_hf_hook", None)
    return torch.device(getattr(hook, "execution_device", None) or "cpu")
