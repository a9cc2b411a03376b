"""Run a model with one module's output changed at one token a row: the least of it that depends on the change, where
that gives what the whole model gives, and else the whole.

What a change at one token of one layer can reach is what that layer and the later ones make of that token and of those
after it. Everything else is computed once: what the layer is given, and the keys and values of the tokens before (which
are most of a chat prompt). Whether a model can be resumed so (its cache may be cropped to a window or hold a recurrent
state, its layers may hand one another more than their hidden states) is not asked of its name, but measured.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from easyedit_unlearn.editors.lookup import Lookup
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.hooks import by_rows, changing, module_named, watched, with_hidden
from easyedit_unlearn.model.inference import IGNORED, answer_logits, answer_nll, pad_pairs

_TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-6, torch.float16: 2e-2, torch.bfloat16: 4e-2}
"""How far the resumed pass may be from the whole, in nats a token and relative to 1 + the loss."""
_CANNOT = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError, NotImplementedError)
"""What models raise that cannot be resumed."""


class Seen(NamedTuple):
    """``logits``, ``labels``: as ``answer_nll`` takes them, of a span that holds the targets. ``at_edit``: the logits
    at the edited token, where they were asked for."""

    logits: Float[Tensor, "rows span vocabulary"]
    labels: Int[Tensor, "rows span"]
    at_edit: Float[Tensor, "rows vocabulary"] | None


class Whole:
    """The whole model, whatever it is, on rows padded on the right."""

    def __init__(
        self, model: PreTrainedModel, _layers: Sequence[str], module: str, rows: Sequence[Lookup], pad_id: int
    ) -> None:
        self._model, self._module = model, module
        pairs = [(row.prompt, row.target) for row in rows]
        self._ids, self._labels, self._mask = (t.to(device_of(model)) for t in pad_pairs(pairs, pad_id))
        self._at = torch.tensor([row.position for row in rows]), torch.arange(len(rows))

    def only(self, rows: Int[Tensor, " rows"]) -> Whole:
        """The same for those rows alone."""
        made = copy(self)
        made._ids, made._labels, made._mask = (t[rows] for t in (self._ids, self._labels, self._mask))
        made._at = self._at[0][rows], torch.arange(len(rows))
        return made

    def logits(self, change: Float[Tensor, "rows d_value"], *, at_edit: bool = False) -> Seen:
        """Given the module's output plus ``change`` at the edited token."""
        positions, rows = self._at

        def changed(output: Tensor) -> Tensor:
            shaped = by_rows(output, len(rows)).clone()
            shaped[rows, positions] = shaped[rows, positions] + change.to(output)
            return shaped.reshape(output.shape)

        with changing(self._model, self._module, changed):
            if not at_edit:
                return Seen(*answer_logits(self._model, self._ids, self._labels, self._mask), None)
            logits = self._model(input_ids=self._ids, attention_mask=self._mask, use_cache=False).logits
            return Seen(logits, self._labels, logits[rows, positions])


class Resumed:
    """Rows from the edited token on, through the edited layer and those after it; column 0 is the edited token."""

    def __init__(
        self, model: PreTrainedModel, layers: Sequence[str], module: str, rows: Sequence[Lookup], pad_id: int
    ) -> None:
        self._model, self._module = model, module
        self._layers = [module_named(model, name) for name in layers]
        self._before = max(row.position for row in rows)
        self._ids, self._labels, self._mask = (t.to(device_of(model)) for t in _aligned(rows, self._before, pad_id))
        self._takes = inspect.signature(model.forward).parameters
        self._cache = "cache" if "cache" in self._takes else "past_key_values"  # transformers 5.24 renamed it
        self._run_once()

    def _run_once(self) -> None:
        """The whole batch through the whole model, keeping what lies before the edited tokens, and what the edited
        layer was given for the rest."""
        given: list[Tensor] = []
        outputs: list[Any] = []
        past = DynamicCache()  # one that crops nothing, whatever windows the layers have
        further = {"logits_to_keep": 1} if "logits_to_keep" in self._takes else {}
        with ExitStack() as stack:
            last = self._layers[-1]
            take = last.register_forward_pre_hook(
                lambda _m, args, kwargs: given.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
            )
            stack.callback(take.remove)
            stack.callback(last.register_forward_hook(lambda _m, _args, output: outputs.append(output)).remove)
            self._forward(self._ids, 0, past, **further)
        cut = self._before
        self._real, self._given = outputs[0], given[0][:, cut:]
        layers: list[Any] = past.layers
        self._past = [(layer.keys[:, :, :cut], layer.values[:, :, :cut]) for layer in layers]

    def only(self, rows: Int[Tensor, " rows"]) -> Resumed:
        """The same for those rows alone."""
        made = copy(self)
        made._ids, made._labels, made._mask = (t[rows] for t in (self._ids, self._labels, self._mask))
        made._given = self._given[rows]
        made._past = [(keys[rows], values[rows]) for keys, values in self._past]
        return made

    def logits(self, change: Float[Tensor, "rows d_value"], *, at_edit: bool = False) -> Seen:
        """As :meth:`Whole.logits`."""
        cut = self._before
        past = DynamicCache()
        for number, (keys, values) in enumerate(self._past if cut else []):
            past.update(keys, values, number)

        def changed(output: Tensor) -> Tensor:
            shaped = by_rows(output, len(change))
            whole = torch.cat([(shaped[:, 0] + change.to(output))[:, None], shaped[:, 1:]], dim=1)
            return whole.reshape(output.shape)

        ids, labels = self._ids[:, cut:], self._labels[:, cut:]
        with self._skipping(), changing(self._model, self._module, changed):
            if at_edit:
                logits = self._forward(ids, cut, past).logits
                return Seen(logits, labels, logits[:, 0])
            further = {self._cache: past, "use_cache": True, **self._positions(cut)}
            return Seen(*answer_logits(self._model, ids, labels, self._mask, **further), None)

    def _forward(self, ids: Tensor, cut: int, past: DynamicCache, **further: Any) -> Any:
        further |= {self._cache: past, "use_cache": True, **self._positions(cut)}
        return self._model(input_ids=ids, attention_mask=self._mask, **further)

    def _positions(self, cut: int) -> dict[str, Tensor]:
        """From the mask, where the model takes them: rows are padded on the left."""
        if "position_ids" not in self._takes:
            return {}
        return {"position_ids": (self._mask.cumsum(1) - 1).clamp(min=0)[:, cut:]}

    @contextmanager
    def _skipping(self) -> Iterator[None]:
        """Within, the layers before the edited one do nothing, and that one is given what it was given before."""
        real, given = self._real, self._given

        def skip(hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Any:
            return with_hidden(real, hidden_states)

        def give(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return ((given, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": given})

        with ExitStack() as stack:
            for module in self._layers[:-1]:
                own = module.__dict__.get("forward")  # accelerate sets one on an instance
                stack.callback(_put_back, module, own)
                module.forward = skip  # type: ignore[method-assign,assignment]
            stack.callback(self._layers[-1].register_forward_pre_hook(give, with_kwargs=True).remove)
            yield


def _put_back(module: nn.Module, forward: Any) -> None:
    module.__dict__.pop("forward", None)
    if forward is not None:
        module.__dict__["forward"] = forward


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Within, no parameter takes part in a gradient: a graph then holds nothing for them."""
    # what accelerate offloaded while a model answered are inference tensors, which no gradient reaches anyway
    learning = [
        parameter for parameter in model.parameters() if parameter.requires_grad and not parameter.is_inference()
    ]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def way_to_run(
    model: PreTrainedModel, layers: Sequence[str], module: str, rows: Sequence[Lookup], pad_id: int, *, at_edit: bool
) -> type[Whole] | type[Resumed]:
    """How to run these rows with the module's output changed: resumed, where that gives what the whole model gives for
    those of them that a batch's shape comes from.

    Args:
        layers: names of the decoder layers from the first to the edited one. module: inside the last of them.
        at_edit: whether the logits at the edited token will be asked for.
    """
    few = _outermost(rows)
    none = torch.zeros(len(few), width_of(model, module, few[0], pad_id), device=device_of(model))
    seen = Whole(model, layers, module, few, pad_id).logits(none, at_edit=at_edit)
    try:
        again = Resumed(model, layers, module, few, pad_id).logits(none, at_edit=at_edit)
        return Resumed if _agree(seen, again, model.dtype) else Whole
    except _CANNOT:
        return Whole


def width_of(model: PreTrainedModel, module: str, row: Lookup, pad_id: int) -> int:
    """Of what the module puts out."""
    seen: list[Tensor] = []
    ids, _, mask = (t.to(device_of(model)) for t in pad_pairs([(row.prompt, [])], pad_id))
    with watched(model, [module], lambda _n, _g, output: seen.append(output)) as forward:
        forward(input_ids=ids, attention_mask=mask)
    return int(seen[0].shape[-1])


def _outermost(rows: Sequence[Lookup]) -> list[Lookup]:
    """The rows, three at most, that reach furthest to the left and right of the edited token, and least far."""

    def right(row: Lookup) -> int:
        return len(row.prompt) + len(row.target) - row.position

    chosen = max(rows, key=lambda row: row.position), min(rows, key=lambda row: row.position), max(rows, key=right)
    return list({id(row): row for row in chosen}.values())


def _agree(one: Seen, other: Seen, dtype: torch.dtype) -> bool:
    """True if both say the same of the targets, and at the edited token, but for rounding."""
    tolerance = _TOLERANCE.get(dtype, 2e-3)
    losses = []
    for seen in (one, other):
        total, count = answer_nll(seen.logits, seen.labels)
        losses.append(total / count.clamp(min=1))
    near = (losses[0] - losses[1]).abs() <= tolerance * (1 + losses[0])
    if one.at_edit is None or other.at_edit is None:
        return bool(near.all())
    first, second = (seen.at_edit.float().log_softmax(-1) for seen in (one, other))  # type: ignore[union-attr]
    return bool(near.all()) and bool(((first.exp() * (first - second)).sum(-1).abs() <= tolerance).all())


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
