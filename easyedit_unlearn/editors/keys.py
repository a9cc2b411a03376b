"""The prompts of an edit, and what the model makes of them where it looks the subject up: keys, and values now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.editors.lookup import Lookup
from easyedit_unlearn.model.hooks import evaluating, watched
from easyedit_unlearn.model.inference import pad_id, pad_pairs


def spread(requests: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[int]]:
    """Every prompt with its target: the requests' own, and those that share their value; and whose each is."""
    queries: list[Mapping[str, Any]] = [{**r, **query} for r in requests for query in ({}, *r.get("also", ()))]
    return queries, [number for number, r in enumerate(requests) for _ in range(1 + len(r.get("also", ())))]


def one_context_where_shared(edits: Sequence[Sequence[Lookup]], owners: Sequence[int]) -> list[Sequence[Lookup]]:
    """Queries that share a value are one another's contexts: each needs only its own first for the optimisation."""
    alone = Counter(owners)
    return [contexts if alone[owner] == 1 else contexts[:1] for contexts, owner in zip(edits, owners, strict=True)]


def keys_and_outputs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    module: str,
    layer: str,
    edits: Sequence[Sequence[Lookup]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys of ``module``, mean over an edit's contexts, and outputs of ``layer`` in its first: now, at the lookup.

    Returns:
        (d_key, edits) and (d_model, edits), float32.
    """
    flat = [lookup for contexts in edits for lookup in contexts]
    ids, _, mask = (t.to(model.device) for t in pad_pairs([(lookup.prompt, []) for lookup in flat], pad_id(tokenizer)))
    rows, positions = torch.arange(len(flat)), torch.tensor([lookup.position for lookup in flat])
    seen: dict[str, torch.Tensor] = {}

    def see(name: str, given: torch.Tensor, output: torch.Tensor) -> None:
        seen[name] = (given if name == module else output)[rows, positions].float()

    with evaluating(model), watched(model, [module, layer], see) as forward:
        forward(input_ids=ids, attention_mask=mask)
    ends = _ends(edits)
    keys = [seen[module][start:stop].mean(0) for start, stop in ends]
    return torch.stack(keys, dim=1), torch.stack([seen[layer][start] for start, _ in ends], dim=1)


def _ends(edits: Iterable[Sequence[Any]]) -> list[tuple[int, int]]:
    ends, start = [], 0
    for contexts in edits:
        ends.append((start, start + len(contexts)))
        start += len(contexts)
    return ends
