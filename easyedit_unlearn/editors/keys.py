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
from easyedit_unlearn.editors.values import GOOD_ENOUGH
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.hooks import evaluating, watched
from easyedit_unlearn.model.inference import batches, pad_id, pad_pairs

_ROWS = 32
_LEFT = 2 * GOOD_ENOUGH
"""Nats per target token at which an edit that was written is as good as found."""


def spread(requests: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[int]]:
    """Every prompt with its target: the requests' own, and those that share their value; and whose each is."""
    queries: list[Mapping[str, Any]] = [{**r, **query} for r in requests for query in ({}, *r.get("also", ()))]
    return queries, [number for number, r in enumerate(requests) for _ in range(1 + len(r.get("also", ())))]


def one_context_where_shared(edits: Sequence[Sequence[Lookup]], owners: Sequence[int]) -> list[Sequence[Lookup]]:
    """Queries that share a value are one another's contexts: each needs only its own first for the optimisation."""
    alone = Counter(owners)
    return [contexts if alone[owner] == 1 else contexts[:1] for contexts, owner in zip(edits, owners, strict=True)]


TOGETHER = 8
"""Queries over which a shared value is found; the others only get it, so that its cost does not grow with them."""


def few_of_each(
    owners: Sequence[int], chosen: Sequence[int] | None = None, losses: Sequence[float] | None = None
) -> list[int]:
    """Of the chosen queries of each edit at most ``TOGETHER``, in order: half of them those furthest from their target,
    where that is known, the others evenly over all."""
    queries: dict[int, list[int]] = {}
    for number in range(len(owners)) if chosen is None else chosen:
        queries.setdefault(owners[number], []).append(number)
    found: list[int] = []
    for own in queries.values():
        loudest = sorted(own, key=lambda i: -losses[i])[: TOGETHER // 2] if losses and len(own) > TOGETHER else []
        rest = [i for i in own if i not in loudest]
        step = max(1.0, len(rest) / (TOGETHER - len(loudest)))
        found += [*loudest, *(rest[int(n * step)] for n in range(min(len(rest), TOGETHER - len(loudest))))]
    return sorted(found)


def to_all(
    found: Float[Tensor, "d_value picked"], picked: Sequence[int], owners: Sequence[int],
    chosen: Sequence[int] | None = None,
) -> Float[Tensor, "d_value queries"]:  # fmt: skip
    """What was found over some queries of each edit, for all of them; 0 for queries that are not ``chosen``."""
    of_owner = {owners[query]: found[:, place] for place, query in enumerate(picked)}
    values = found.new_zeros(len(found), len(owners))
    for query in range(len(owners)) if chosen is None else chosen:
        values[:, query] = of_owner[owners[query]]
    return values


def missed(losses: Float[Tensor, " queries"], owners: Sequence[int]) -> list[int]:
    """The queries of every edit one of whose queries is further from its target than where it was found."""
    loud = {owner for owner, loss in zip(owners, losses.tolist(), strict=True) if not loss <= _LEFT}
    return [number for number, owner in enumerate(owners) if owner in loud]


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


def means(columns: Float[Tensor, "d n"], unit: Sequence[int]) -> Float[Tensor, "d units"]:
    """The mean of the columns of each unit; ``unit`` numbers them from 0."""
    where = torch.tensor(unit, device=columns.device)
    sums = columns.new_zeros(len(columns), max(unit) + 1).index_add(1, where, columns)
    return sums / where.bincount().to(columns)


def owner_of_lookups(edits: Sequence[Sequence[Lookup]]) -> list[int]:
    """The number of the edit that each lookup is of, as :func:`at_lookups` orders them."""
    return [number for number, contexts in enumerate(edits) for _ in contexts]
