"""What the frozen model makes of the answers, computed once before training: no second model is held for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from easyedit_unlearn.baselines.answers import Answers
from easyedit_unlearn.baselines.data import Pair
from easyedit_unlearn.editors.modules import evaluating
from easyedit_unlearn.evaluation.inference import answer_logits, pad_pairs

if TYPE_CHECKING:
    from easyedit_unlearn.components import Stage

Memory = Literal["logprob", "logits"]
IN_MEMORY = 2**28
"""Bytes; logits that need more lie in a file of the scratch folder, mapped into memory."""
_BATCH = 8


def remember(
    model: Any, pairs: Mapping[int, Pair], kind: Memory, *, pad_id: int, scratch: Path, name: str, stage: Stage
) -> dict[int, Tensor]:
    """By index of the pair: its answer's log-probability, (), or the logits of its answer tokens, (tokens, vocabulary),
    in the model's own precision.

    ``scratch`` must outlive the result.
    """
    indices = sorted(pairs, key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
    advance = stage(f"reference: {name}", len(indices))
    found: dict[int, Tensor] = {}
    room: Tensor | None = None
    used = 0
    with evaluating(model):
        for batch in _chunks(indices):
            ids, labels, mask = (t.to(model.device) for t in pad_pairs([pairs[i] for i in batch], pad_id))
            logits, labels = answer_logits(model, ids, labels, mask)
            if kind == "logprob":
                found |= dict(zip(batch, Answers.of(logits, labels).logprob.cpu(), strict=True))
            else:
                if room is None:
                    tokens = sum(len(pairs[i][1]) for i in indices)
                    room = _room(tokens, logits.shape[-1], logits.dtype, scratch / name)
                for number, i in enumerate(batch):
                    wanted = logits[number, :-1][labels[number, 1:] >= 0]
                    place = room[used : used + len(wanted)]
                    place.copy_(wanted)
                    found[i], used = place, used + len(wanted)
            advance(len(batch))
    return found


def _room(tokens: int, vocabulary: int, dtype: torch.dtype, path: Path) -> Tensor:
    size = tokens * vocabulary
    if size * dtype.itemsize <= IN_MEMORY:
        return torch.empty(tokens, vocabulary, dtype=dtype)
    return torch.from_file(str(path), shared=True, size=size, dtype=dtype).view(tokens, vocabulary)


def _chunks(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(indices), _BATCH):
        yield indices[start : start + _BATCH]
