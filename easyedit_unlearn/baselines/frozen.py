"""What the frozen model makes of the answers, computed once before training: no second model is held for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from easyedit_unlearn.baselines.answers import Answers
from easyedit_unlearn.components import Progress
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.hooks import evaluating, hidden_of, module_named
from easyedit_unlearn.model.inference import IGNORED, answer_logits, pad_pairs
from easyedit_unlearn.model.prompting import TokenPair

Memory = Literal["logprob", "logits", "hidden"]
IN_MEMORY = 2**28
"""Bytes; logits that need more lie in a file of the scratch folder, mapped into memory."""
_BATCH = 8


def remember(
    model: Any,
    pairs: Mapping[int, TokenPair],
    kind: Memory,
    *,
    pad_id: int,
    scratch: Path,
    name: str,
    progress: Progress,
    layer: str | None = None,
) -> dict[int, Tensor]:
    """By index of the pair: its answer's log-probability, (); the logits that predict its answer tokens, (tokens,
    vocabulary), in the precision in which the model puts them out; or the outputs of ``layer`` at those tokens,
    (tokens, d_model).

    ``scratch`` must outlive the result.
    """
    indices = sorted(pairs, key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
    advance = progress(f"reference: {name}", len(indices))
    found: dict[int, Tensor] = {}
    room: Tensor | None = None
    used = 0
    with evaluating(model), seeing(model, layer) as seen:
        for batch in _chunks(indices):
            ids, labels, mask = (t.to(device_of(model)) for t in pad_pairs([pairs[i] for i in batch], pad_id))
            logits, labels = answer_logits(model, ids, labels, mask)
            if kind == "logprob":
                found |= dict(zip(batch, Answers.of(logits, labels).logprob.cpu(), strict=True))
            else:
                per_token = logits[:, :-1] if kind == "logits" else seen[0][:, -labels.shape[1] + 1 :]
                if room is None:
                    tokens = sum(len(pairs[i][1]) for i in indices)
                    room = _room(tokens, per_token.shape[-1], per_token.dtype, scratch / name)
                for number, i in enumerate(batch):
                    wanted = per_token[number][(labels[number, 1:] != IGNORED).to(per_token.device)]
                    place = room[used : used + len(wanted)]
                    place.copy_(wanted)
                    found[i], used = place, used + len(wanted)
            advance(len(batch))
    return found


@contextmanager
def seeing(model: Any, layer: str | None) -> Iterator[list[Tensor]]:
    """A list that holds the last output of ``layer``, (rows, length, d_model), after every forward pass within."""
    seen: list[Tensor] = []
    if layer is None:
        yield seen
        return

    def see(_module: Any, _inputs: Any, output: Any) -> None:
        seen[:] = [hidden_of(output)]

    handle = module_named(model, layer).register_forward_hook(see)
    try:
        yield seen
    finally:
        handle.remove()


def _room(tokens: int, vocabulary: int, dtype: torch.dtype, path: Path) -> Tensor:
    size = tokens * vocabulary
    if size * dtype.itemsize <= IN_MEMORY:
        return torch.empty(tokens, vocabulary, dtype=dtype)
    return torch.from_file(str(path), shared=True, size=size, dtype=dtype).view(tokens, vocabulary)


def _chunks(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(indices), _BATCH):
        yield indices[start : start + _BATCH]
