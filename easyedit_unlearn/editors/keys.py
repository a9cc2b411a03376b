"""The prompts of an edit, and what the model makes of them where it looks the subject up: keys, and outputs now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.editors.lookup import Lookup
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.hooks import evaluating, watched
from easyedit_unlearn.model.inference import batches, pad_id, pad_pairs

_ROWS = 32


def spread(requests: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[int]]:
    """Every prompt with its target: the requests' own, and those that share their value; and whose each is."""
    queries: list[Mapping[str, Any]] = [{**r, **query} for r in requests for query in ({}, *r.get("also", ()))]
    return queries, [number for number, r in enumerate(requests) for _ in range(1 + len(r.get("also", ())))]


def one_context_where_shared(edits: Sequence[Sequence[Lookup]], owners: Sequence[int]) -> list[Sequence[Lookup]]:
    """Queries that share a value are one another's contexts: each needs only its own first for the optimisation."""
    alone = Counter(owners)
    return [contexts if alone[owner] == 1 else contexts[:1] for contexts, owner in zip(edits, owners, strict=True)]


def at_lookups(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    edits: Sequence[Sequence[Lookup]],
    module: str,
    put_out: str,
) -> tuple[Float[Tensor, "d_key lookups"], Float[Tensor, "d_value lookups"]]:
    """What ``module`` is given, and what ``put_out`` (it, or the decoder layer around it) puts out, at every lookup of
    every edit, one edit's contexts after the other's; float32."""
    flat = [lookup for contexts in edits for lookup in contexts]
    keys: list[Tensor] = [torch.empty(0)] * len(flat)
    outputs = list(keys)
    for rows in batches([len(lookup.prompt) for lookup in flat], _ROWS):
        chosen = [flat[i] for i in rows]
        ids, _, mask = (
            t.to(device_of(model)) for t in pad_pairs([(one.prompt, []) for one in chosen], pad_id(tokenizer))
        )
        here = torch.arange(len(chosen)), torch.tensor([one.position for one in chosen])
        seen: dict[str, tuple[Tensor, Tensor]] = {}

        def see(name: str, given: Tensor, output: Tensor, here: Any = here, seen: dict[str, Any] = seen) -> None:
            seen[name] = given[here].float(), output[here].float()

        with evaluating(model), watched(model, dict.fromkeys([module, put_out]), see) as forward:
            forward(input_ids=ids, attention_mask=mask)
        for place, key, output in zip(rows, seen[module][0], seen[put_out][1], strict=True):
            keys[place], outputs[place] = key, output
    return torch.stack(keys, dim=1), torch.stack(outputs, dim=1)


def owner_of_lookups(edits: Sequence[Sequence[Lookup]]) -> list[int]:
    """The number of the edit that each lookup is of, as :func:`at_lookups` orders them."""
    return [number for number, contexts in enumerate(edits) for _ in contexts]
