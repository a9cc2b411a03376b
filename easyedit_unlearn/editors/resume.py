"""Run the least of a model that depends on an edit: the layers after it, and the tokens from it on.

What an edit at one token of one layer can change is what the later layers make of that token and of those after it.
Everything else is computed once: the layer's output, and the keys and values of the tokens before (which are most of a
chat prompt).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from easyedit_unlearn.editors.lookup import Lookup
from easyedit_unlearn.model.hooks import hidden_of, module_named, with_hidden
from easyedit_unlearn.model.inference import IGNORED, answer_logits, cache_name


class Resume:
    """A batch from the edited token on, and what the later layers are given for it.

    Attributes:
        base: the layer's real output, (rows, length, d_model); column 0 is the edited token of every row.
        hidden: what the later layers are given in its place; set it before :meth:`logits`.
    """

    def __init__(self, model: PreTrainedModel, rows: Sequence[Lookup], pad_id: int) -> None:
        self._model = model
        self._before = max(row.position for row in rows)
        self._ids, self._labels, self._mask = (t.to(model.device) for t in _aligned(rows, self._before, pad_id))
        self._past: list[tuple[Tensor, Tensor]] = []
        self._cache = "past_key_values"
        self.base = self.hidden = torch.empty(0)

    @property
    def _positions(self) -> Tensor:
        return (self._mask.cumsum(1) - 1).clamp(min=0)

    def run_once(self) -> None:
        """The whole batch through the whole model, keeping what lies before the edited tokens."""
        output = self._model(
            input_ids=self._ids, attention_mask=self._mask, position_ids=self._positions, use_cache=True
        )
        cut = self._before
        self._cache = cache_name(output)
        layers = output[self._cache].layers
        self._past = [(layer.keys[:, :, :cut], layer.values[:, :, :cut]) for layer in layers]

    def logits(self, *, edited: bool = False) -> tuple[Tensor, Tensor]:
        """Logits and labels given ``hidden``, as ``answer_nll`` takes them, of the span that holds the targets.

        Args:
            edited: have the span begin at the edited token, column 0.
        """
        cut = self._before
        past = DynamicCache()
        for number, (keys, values) in enumerate(self._past if cut else []):
            past.update(keys, values, number)
        ids, labels, positions = (t[:, cut:] for t in (self._ids, self._labels, self._positions))
        further = {"position_ids": positions, self._cache: past, "use_cache": True}
        if edited:
            return self._model(input_ids=ids, attention_mask=self._mask, **further).logits, labels
        return answer_logits(self._model, ids, labels, self._mask, **further)


@contextmanager
def resumed(model: PreTrainedModel, layers: Sequence[str], rows: Sequence[Lookup], pad_id: int) -> Iterator[Resume]:
    """Within, the named decoder layers do nothing, and the last of them gives out ``hidden``.

    Args:
        layers: names of the decoder layers from the first to the edited one.
    """
    modules = [module_named(model, name) for name in layers]
    resume = Resume(model, rows, pad_id)
    seen: list[Any] = []
    handle = modules[-1].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        resume.run_once()
    finally:
        handle.remove()
    real = seen[0]
    resume.base = resume.hidden = hidden_of(real)[:, resume._before :]

    def skip(hidden: Tensor, *_args: Any, **_kwargs: Any) -> Any:
        return with_hidden(real, hidden)

    def give(*_args: Any, **_kwargs: Any) -> Any:
        return with_hidden(real, resume.hidden)

    own = [module.__dict__.get("forward") for module in modules]  # accelerate sets one on an instance
    try:
        for module in modules[:-1]:
            module.forward = skip  # type: ignore[method-assign,assignment]
        modules[-1].forward = give  # type: ignore[method-assign,assignment]
        yield resume
    finally:
        for module, forward in zip(modules, own, strict=True):
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward


def _aligned(rows: Sequence[Lookup], before: int, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, labels and mask, (rows, length), padded on both sides so that every edited token is column ``before``."""
    width = before + max(len(row.prompt) + len(row.target) - row.position for row in rows)
    ids = torch.full((len(rows), width), pad_id)
    labels, mask = torch.full_like(ids, IGNORED), torch.zeros_like(ids)
    for number, row in enumerate(rows):
        whole = row.prompt + row.target
        start = before - row.position
        ids[number, start : start + len(whole)] = torch.tensor(whole)
        labels[number, start + len(row.prompt) : start + len(whole)] = torch.tensor(row.target)
        mask[number, start : start + len(whole)] = 1
    return ids, labels, mask
