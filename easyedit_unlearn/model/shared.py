"""What many prompts begin with (a system prompt, a chat template's head) is run once for all of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.hooks import WRAPPERS
from easyedit_unlearn.model.structure import text_config

LONG = 64
"""From so many tokens on it pays."""


def beginning_of(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, but for the last token of the shortest: one must be left to run."""
    shortest = min(map(len, prompts)) - 1
    first = prompts[0]
    return next((n for n in range(shortest) if any(prompt[n] != first[n] for prompt in prompts)), max(shortest, 0))


def run_once(model: PreTrainedModel, ids: Sequence[int], rows: int, *, cropped: bool = False) -> dict[str, Any]:
    """The model's cache after ``ids``, for ``rows`` prompts that begin with them, by the name that its forward has for
    it; nothing where it has none that could be shared out, or where a layer does not decide from its own input alone.

    Args:
        cropped: True where a cache will do that a sliding window crops: not where padding follows ``ids``.
    """
    takes = inspect.signature(model.forward).parameters
    if not ids or not by_token(model) or not (cropped or _goes_by_positions(model, takes)):
        return {}
    first = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
    output: Any = model(input_ids=torch.tensor([ids], device=device_of(model)), use_cache=True, **first)
    name = cache_name(output)
    cache = output.get(name)
    kinds = {type(layer).__name__ for layer in getattr(cache, "layers", ())}
    if not kinds or not kinds <= {"DynamicLayer", *(["DynamicSlidingWindowLayer"] if cropped else [])}:
        return {}
    cache.batch_repeat_interleave(rows)
    return {name: cache}


def _goes_by_positions(model: PreTrainedModel, takes: Mapping[str, Any]) -> bool:
    """True if attention goes by the positions that a mask leaves, so that padding may lie anywhere: not so where a bias
    (ALiBi) or a window (GPT-Neo) is cut by a key's place in the row."""
    return "position_ids" in takes and not hasattr(text_config(model), "attention_layers")


def cache_name(output: Any) -> str:
    """How a model's output, and its forward, call the key-value cache: transformers 5.24 renamed it."""
    return "cache" if "cache" in output else "past_key_values"


def by_token(model: PreTrainedModel) -> bool:
    """True if every layer decides from its own input alone, so that a prompt may be run apart from its answers: not so
    where a memory acts on whole rows."""
    hooks = (hook for module in model.modules() for hook in module._forward_hooks.values())
    return not any(getattr(hook, "by_rows", False) for hook in hooks) and not any(
        type(module).__name__ in WRAPPERS for module in model.modules()
    )
