"""EasyEdit's GRACE and WISE, served by our adapters.

EasyEdit trains both, but generates badly with them: GRACE edits position ``key_id`` of whatever it is given, so that
each decoded token takes the place of the prompt's last; WISE decides once for a whole padded batch. After a run their
memories are moved into adapters, GRACE's deciding token by token and WISE's row by row, and EasyEdit's wrappers are
taken off. What was learned stays EasyEdit's; only who serves it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import torch
import wrapt

from easyedit_unlearn.editors.inputs import inputs_of
from easyedit_unlearn.host.session import active
from easyedit_unlearn.model.inference import pad_id
from easyedit_unlearn.model.memories import (
    Adapter,
    Codebook,
    SequenceMemory,
    attach,
    counted_activity,
    threshold_between,
)
from easyedit_unlearn.model.structure import edited_layer


def bare_model(edited: Any) -> Any:
    """The Hugging Face model inside what EasyEdit's editors return: adapters of LoRA, QLoRA and DPO are added to its
    weights, and the objects of GRACE, WISE and DEFER hold it."""
    if hasattr(edited, "merge_and_unload"):
        model = edited.merge_and_unload()
        vars(model).pop("peft_config", None)
        return model
    return edited.model if type(edited).__name__ in ("GRACE", "WISE", "DEFER", "Defer") else edited


def take_over(model: Any, tokenizer: Any, hparams: Any, arguments: Mapping[str, Any]) -> None:
    """Replace EasyEdit's wrapper in ``model`` by an adapter of ours with the same memory."""
    name = edited_layer(hparams.inner_params)
    parent, _, child = name.rpartition(".")
    wrapper = model.get_submodule(name)
    if type(wrapper).__name__ == "GRACEAdapter":
        layer, adapter = wrapper.layer, _codebook(wrapper)
    elif type(wrapper).__name__ == "WISEAdapter":
        layer, adapter = wrapper.original_layer, None
    else:
        return
    setattr(model.get_submodule(parent), child, layer)
    if adapter is None:
        adapter = _side_memory(wrapper, model, tokenizer, name, hparams, arguments)
    attach(model, name, adapter)


def _codebook(wrapper: Any) -> Adapter:
    return Codebook(keys=wrapper.keys, values=wrapper.values, radii=wrapper.epsilons.reshape(-1))


def _side_memory(
    wrapper: Any, model: Any, tokenizer: Any, name: str, hparams: Any, arguments: Mapping[str, Any]
) -> Adapter:
    """EasyEdit's thresholds are means over padded sequences; ours are peaks over the tokens of a prompt, of what is
    edited against the neighbours that EasyEdit trained against, without the text that all of them begin with."""
    original = wrapper.original_layer.weight.detach()
    memories = [w.detach() for w in wrapper.memory_weight]
    if not torch.equal(wrapper.new_weight, original):
        memories.append(wrapper.new_weight.detach())
    transposed = type(wrapper.original_layer).__name__ == "Conv1D"
    changes = torch.stack([(w - original).T if transposed else w - original for w in memories]).float()
    edited, around = ([tokenizer(text).input_ids for text in texts] for texts in (arguments["prompts"], hparams.around))
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*edited, *around, strict=False)))
    pad = pad_id(tokenizer)
    prefix = inputs_of(model, name, [edited[0][:shared]] if shared else [], pad)
    inside, outside = (_peaks(model, name, texts, changes, prefix, pad) for texts in (edited, around))
    limits = [
        threshold_between(float(i.min()), float(o.max()), hparams.act_ratio)
        for i, o in zip(inside, outside, strict=True)
    ]
    return SequenceMemory(changes=changes, thresholds=torch.tensor(limits), prefix=prefix)


def _peaks(model: Any, name: str, texts: Any, changes: torch.Tensor, prefix: torch.Tensor, pad: int) -> torch.Tensor:
    """The largest activity of each shard's change in each text, (shards, texts)."""
    found = []
    for ids in texts:
        keys = inputs_of(model, name, [ids], pad).float()
        moved = torch.einsum("tk,nvk->tnv", keys, changes.to(keys))
        found.append(counted_activity(moved, keys, prefix.to(keys)).amax(0))
    return torch.stack(found, dim=1)


class _Whole(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A model whose generation is not cut short by its end token."""

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        if "max_new_tokens" in kwargs:
            kwargs.setdefault("min_new_tokens", kwargs["max_new_tokens"])
        return self.__wrapped__.generate(*args, **kwargs)


def comparable(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """EasyEdit scores GRACE by comparing what is generated with the target token by token, and crashes where the two
    differ in length: give it as many tokens as it asked for."""
    if active() is None or not kwargs.get("vanilla_generation"):
        return wrapped(*args, **kwargs)
    if args:
        return wrapped(_Whole(args[0]), *args[1:], **kwargs)
    return wrapped(**kwargs | {"model": _Whole(kwargs["model"])})
