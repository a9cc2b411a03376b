"""Memories beside the weights: GRACE's codebook and WISE's side memory, hooked on one linear layer.

Our own decide token by token, from that token's own input alone. So a key-value cache, the padding of a batch, beams
and other rows cannot change what they do, and the model's parameters, their names and its own ``save_pretrained`` stay
as they were. What cannot be merged into weights is saved in a safetensors file of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from easyedit_unlearn.model.hooks import module_named


class Adapter(ABC):
    """A forward hook of one linear layer, made of tensors that never change: an edit attaches a new one."""

    method: ClassVar[str]
    fields: ClassVar[tuple[str, ...]]
    by_rows: ClassVar[bool] = False  # or token by token

    def __init__(self, **tensors: Tensor) -> None:
        self.tensors = {name: tensors[name].detach().float().cpu() for name in self.fields}
        self.basis: Any = None  # what it was made from, for a later edit of the same sequence; not saved
        self._placed: dict[torch.device, dict[str, Tensor]] = {}

    def __call__(
        self, _module: Any, inputs: tuple[Float[Tensor, "... d_key"]], output: Float[Tensor, "... d_value"]
    ) -> Float[Tensor, "... d_value"]:
        """Decided in float32, given out in the model's precision."""
        at = output.device
        if at not in self._placed:
            with torch.inference_mode(False):  # a copy made in inference could not take part in training
                self._placed = {at: {name: tensor.to(at) for name, tensor in self.tensors.items()}}
        return self.changed(inputs[0], output, **self._placed[at])

    def __deepcopy__(self, _memo: Any) -> Adapter:
        return self  # its tensors never change

    @abstractmethod
    def changed(self, given: Tensor, output: Tensor, **tensors: Tensor) -> Tensor:
        """The layer's output, replaced where this memory is in charge."""

    @classmethod
    @abstractmethod
    def shapes(cls, d_key: int, d_value: int) -> dict[str, tuple[int, ...]]:
        """Of each tensor but for its first dimension, the number of entries."""


class Codebook(Adapter):
    """GRACE (arXiv 2211.11031, section 3): a token whose input lies within a key's radius puts out that key's value.

    keys (n, d_key), values (n, d_value), radii (n,).
    """

    method, fields = "GRACE", ("keys", "values", "radii")

    def changed(self, given: Tensor, output: Tensor, **tensors: Tensor) -> Tensor:
        keys = tensors["keys"].expand(*given.shape[:-2], -1, -1)
        distances = torch.cdist(given.float(), keys, compute_mode=EXACT)  # exact at any length
        nearest, which = distances.min(-1)
        inside = nearest <= tensors["radii"][which]
        return torch.where(inside[..., None], tensors["values"][which].to(output.dtype), output)

    @classmethod
    def shapes(cls, d_key: int, d_value: int) -> dict[str, tuple[int, ...]]:
        return {"keys": (d_key,), "values": (d_value,), "radii": ()}


class SideMemory(Adapter):
    """WISE (arXiv 2405.14768, section 2.3): the side memory W' answers where |a (W' - W)| is above its threshold.

    changes (n, d_value, d_key) are W' - W, one a shard; thresholds (n,). Of several, the one most active answers.
    """

    method, fields = "WISE", ("changes", "thresholds")

    def changed(self, given: Tensor, output: Tensor, **tensors: Tensor) -> Tensor:
        moved = torch.einsum("...k,nvk->...nv", given.float(), tensors["changes"])
        activity = moved.norm(dim=-1)
        active, which = torch.where(activity > tensors["thresholds"], activity, 0).max(-1)
        chosen = moved.gather(-2, which[..., None, None].expand(*which.shape, 1, moved.shape[-1])).squeeze(-2)
        return torch.where((active > 0)[..., None], (output.float() + chosen).to(output.dtype), output)

    @classmethod
    def shapes(cls, d_key: int, d_value: int) -> dict[str, tuple[int, ...]]:
        return {"changes": (d_value, d_key), "thresholds": ()}


class SequenceMemory(Adapter):
    """EasyEdit's own WISE, whose W' is trained on whole sequences: where any token of a text is active, W' answers for
    all of them, and for what is decoded after them.

    changes and thresholds as in :class:`SideMemory`; prefix (m, d_key) are inputs of the text that all prompts begin
    with (a chat template's system prompt), which says nothing about the question and does not count. The decision on
    each row is kept for passes of one token a row that follow, so a prompt of a single token is taken for such a one.
    """

    method, fields, by_rows = "WISE, by sequence", ("changes", "thresholds", "prefix"), True
    _decided: Tensor | None = None
    _mask: Tensor | None = None

    def see_mask(self, _model: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        """A forward pre-hook of the whole model: padding must not count."""
        self._mask = kwargs.get("attention_mask")

    def changed(self, given: Tensor, output: Tensor, **tensors: Tensor) -> Tensor:
        moved = torch.einsum("...k,nvk->...nv", given.float(), tensors["changes"])
        activity = counted_activity(moved, given.float(), tensors["prefix"])
        if self._mask is not None and self._mask.dim() == 2 and len(self._mask) == len(given):
            activity = activity * self._mask[:, -given.shape[-2] :, None].to(activity)
        peaks = activity.amax(-2)  # (rows, n)
        before = self._decided
        if before is not None and given.shape[-2] == 1 and before.shape == peaks.shape:
            peaks = before.to(peaks)
        with torch.inference_mode(False):  # the next pass may be one of training
            self._decided = peaks.detach().clone()
        active, which = torch.where(peaks > tensors["thresholds"], peaks, 0).max(-1)  # (rows,)
        chosen = moved.gather(-2, which[..., None, None, None].expand(*moved.shape[:-2], 1, moved.shape[-1])).squeeze(
            -2
        )
        return torch.where((active > 0)[..., None, None], (output.float() + chosen).to(output.dtype), output)

    @classmethod
    def shapes(cls, d_key: int, d_value: int) -> dict[str, tuple[int, ...]]:
        return {"changes": (d_value, d_key), "thresholds": (), "prefix": (d_key,)}


def counted_activity(
    moved: Float[Tensor, "... tokens n d_value"],
    keys: Float[Tensor, "... tokens d_key"],
    prefix: Float[Tensor, "m d_key"],
) -> Float[Tensor, "... tokens n"]:
    """|(W' - W) k| a token and shard, from those changes; 0 where k is one of the prefix's."""
    activity: Tensor = moved.norm(dim=-1)
    if not len(prefix):
        return activity
    near = torch.cdist(keys, prefix.expand(*keys.shape[:-2], -1, -1), compute_mode=EXACT).amin(-1)
    return torch.where((near < 1e-2 * keys.norm(dim=-1))[..., None], 0, activity)


def attached(model: torch.nn.Module) -> dict[str, Adapter]:
    """The adapters that act in ``model``, by the name of their layer."""
    return {
        name: hook
        for name, module in model.named_modules()
        for hook in module._forward_hooks.values()
        if isinstance(hook, Adapter)
    }


def attach(model: PreTrainedModel, name: str, adapter: Adapter) -> None:
    """Let ``adapter`` act on the layer ``name`` from now on, in place of one that acted there."""
    module = module_named(model, name)
    detach(model, name)
    module.register_forward_hook(adapter)  # type: ignore[arg-type]
    if isinstance(adapter, SequenceMemory):
        model.register_forward_pre_hook(adapter.see_mask, with_kwargs=True)


def detach(model: PreTrainedModel, name: str | None = None) -> None:
    """Take off the adapter of one layer, or all: the model is bitwise what it was before they were attached."""
    for module in model.modules() if name is None else [module_named(model, name)]:
        for key, hook in list(module._forward_hooks.items()):
            if isinstance(hook, Adapter):
                del module._forward_hooks[key]
                for number, before in list(model._forward_pre_hooks.items()):
                    if getattr(before, "__self__", None) is hook:
                        del model._forward_pre_hooks[number]
                        del model._forward_pre_hooks_with_kwargs[number]


EXACT = "donot_use_mm_for_euclid_dist"
"""Distances that do not depend on how many are computed at once."""


def threshold_between(inside: float, others: float, ratio: float) -> float:
    """``ratio`` of the least activity of what is edited, more where others reach higher, but never more than that."""
    return min(max(ratio * inside, 1.01 * others), 0.99 * inside)
