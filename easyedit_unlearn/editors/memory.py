"""What GRACE and WISE share: they leave the weights alone and attach a memory beside one layer (``model.memories``).

Both look at the subject's last token where a request names its subject, at the prompt's last token otherwise. There
the value that makes the model refuse is found as in ROME; the two differ in which other inputs it answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from easyedit_unlearn.components import Job, Method
from easyedit_unlearn.config.fields import Count, Positive
from easyedit_unlearn.editors.attain import attained, record
from easyedit_unlearn.editors.inputs import outside_inputs
from easyedit_unlearn.editors.keys import (
    at_lookups,
    few_of_each,
    missed,
    one_context_where_shared,
    owner_of_lookups,
    spread,
    to_all,
)
from easyedit_unlearn.editors.lookup import Lookup, lookups
from easyedit_unlearn.editors.values import ValueSettings, optimise_values, target_losses
from easyedit_unlearn.errors import AttainmentError, ConfigError, UnlearnError
from easyedit_unlearn.model.hooks import layer_shape, module_named
from easyedit_unlearn.model.inference import pad_id
from easyedit_unlearn.model.memories import EXACT, Adapter, attach, attached, detach
from easyedit_unlearn.model.structure import decoder_layers, edited_layer, stream_share
from easyedit_unlearn.types import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class MemoryHyperParams:
    """What GRACE and WISE share. ``inner_params`` names the one weight beside which the memory acts."""

    alg_name: str
    model_name: Any
    inner_params: Annotated[list[str], Field(min_length=1, max_length=1)]
    edit_lr: Positive
    n_iter: Count
    device: Any = 0
    batch_size: Count = 1
    max_length: Count = 30
    model_parallel: bool = False
    fp16: bool = False


_SAME = 1e-4  # two keys so near are one prompt, edited twice


@dataclass
class NewEdits:
    """What both need: keys and outputs of the layer, and the change of output that refuses; ``labels``: what each makes
    the model say; ``edits``: how many edits they are of."""

    keys: Float[Tensor, "d_key n"]
    outputs: Float[Tensor, "d_value n"]
    changes: Float[Tensor, "d_value n"]
    labels: list[str]
    edits: int

    def only(self, stay: Bool[Tensor, " n"]) -> NewEdits:
        """Without the keys that must go."""
        labels = [label for label, kept in zip(self.labels, stay.tolist(), strict=True) if kept]
        place = stay.to(self.keys.device)
        return NewEdits(self.keys[:, place], self.outputs[:, place], self.changes[:, place], labels, self.edits)


class MemoryEditor(Method):
    """The shared procedure; subclasses turn what was found into an adapter."""

    host_first = shares_values = True

    def normalise(self, config: dict[str, Any]) -> dict[str, Any]:
        """Raises ConfigError: ``inner_params`` is no path, which EasyEdit would evaluate as Python."""
        if "inner_params" in config:
            edited_layer(config["inner_params"])
        return config

    def parameters(self, model: Any, hparams: Any) -> Iterable[str]:
        return []

    def check(self, model: Any, hparams: Any) -> None:
        name = edited_layer(hparams.inner_params)
        decoder_layers(name)
        if layer_shape(module_named(model, name)) is None:
            raise ConfigError(
                f"{self.name} acts beside a linear layer, and {type(module_named(model, name)).__name__} is none",
                key="inner_params", value=hparams.inner_params,
            )  # fmt: skip

    def apply(self, job: Job) -> None:
        """One memory for all requests of the call, added to what earlier calls in a sequence attached; then look
        whether the model refuses, and go on from there with those for which it does not, ``unlearn.native.passes``
        times in all. A pass after which less of the targets is said is taken back.

        Raises:
            AttainmentError: at some lookup the memory does not put out what was found.
        """
        name = edited_layer(job.hparams.inner_params)
        standing = attached(job.model).get(name)
        if standing is not None and standing.method != self.name:
            raise UnlearnError(f"{standing.method} acts beside {name} already; choose another layer, or detach(model)")
        detach(job.model, name)  # values are sought on the bare layer; put back by the caller's guard if this fails
        queries, owners = spread(job.requests)
        edits = [_lookups(job.tokenizer, query, job.hparams) for query in queries]
        keys, outputs = at_lookups(job.model, job.tokenizer, edits, name, name)
        owner = owner_of_lookups(edits)
        labels = [str(queries[i]["target_new"]) for i in owner]
        found = NewEdits(keys, outputs, self._changes(job, name, edits, owners)[:, owner], labels, len(edits))
        outside = outside_inputs(job.model, job.tokenizer, name, queries, edits, job.retain, keys)
        attach(job.model, name, self.remember(job, name, found, outside, standing))
        found = self._go_on(job, name, edits, owners, found, outside, standing)
        now = at_lookups(job.model, job.tokenizer, edits, name, name)[1]
        record(job, attained(now - found.outputs, found.changes), [queries[i]["prompt"] for i in owner])

    def _go_on(
        self, job: Job, name: str, edits: Sequence[Sequence[Lookup]], owners: Sequence[int], found: NewEdits,
        outside: Tensor, standing: Adapter | None,
    ) -> NewEdits:  # fmt: skip
        """The passes after the first. What each finds is added to the changes that stand."""
        rows, pad = one_context_where_shared(edits, owners), pad_id(job.tokenizer)
        losses = target_losses(job.model, rows, pad)
        for _ in range(job.hparams.unlearn.native.passes - 1):
            chosen = missed(losses, owners)
            if not chosen:
                break
            picked = few_of_each(owners, chosen, losses.tolist())
            more = self._changes(job, name, edits, owners, picked, chosen)[:, owner_of_lookups(edits)]
            better = replace(found, changes=found.changes + more)
            best = attached(job.model)[name]
            detach(job.model, name)
            try:
                attach(job.model, name, self.remember(job, name, better, outside, standing))
                now = target_losses(job.model, rows, pad)
            except AttainmentError:  # more than this layer can hold apart
                now = losses
            if not float(now.sum()) < float(losses.sum()):
                detach(job.model, name)
                attach(job.model, name, best)
                break
            found, losses = better, now
        return found

    def remember(
        self, job: Job, layer: str, found: NewEdits, outside: Float[Tensor, "tokens d_key"], standing: Adapter | None
    ) -> Adapter:
        """The memory beside ``layer``: what was ``found`` now and by the one ``standing`` there. ``outside``: inputs
        that must be left alone."""
        raise NotImplementedError

    def value_settings(self, hparams: Any) -> ValueSettings:
        native = hparams.unlearn.native
        return ValueSettings(native.value_steps, native.value_lr, 0.0, native.value_clamp, products=native.products)

    def keys_of(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, requests: Sequence[Mapping[str, Any]],
        hparams: Any,
    ) -> Float[Tensor, "d_key requests"]:  # fmt: skip
        name = edited_layer(hparams.inner_params)
        edits = [_lookups(tokenizer, request, hparams)[:1] for request in requests]
        return at_lookups(model, tokenizer, edits, name, name)[0]

    def _changes(
        self, job: Job, name: str, edits: Sequence[Sequence[Lookup]], owners: Sequence[int],
        picked: Sequence[int] | None = None, chosen: Sequence[int] | None = None,
    ) -> Float[Tensor, "d_value queries"]:  # fmt: skip
        """For every query what is to be added to what the layer puts out now, found over those ``picked``; nothing for
        those not ``chosen``."""
        rows = one_context_where_shared(edits, owners)
        picked = few_of_each(owners) if picked is None else picked
        found = optimise_values(
            job.model, decoder_layers(name), name, [rows[i] for i in picked], self.value_settings(job.hparams),
            pad_id=pad_id(job.tokenizer), progress=job.progress, owners=[owners[i] for i in picked],
            norm_of=self._bound(job, name),
        )  # fmt: skip
        return to_all(found, picked, owners, chosen)

    def _bound(self, job: Job, name: str) -> tuple[str, float] | None:
        """Whose norm bounds a value's change: the decoder layer's, where what the module puts out is added to it."""
        layer = decoder_layers(name)[-1]
        share = stream_share(job.model, layer, name)
        return (layer, 1 / share) if share is not None else None


def _lookups(tokenizer: PreTrainedTokenizerBase, request: Mapping[str, Any], hparams: Any) -> list[Lookup]:
    native = hparams.unlearn.native
    token = native.fact_token if request.get("subject") else "last"
    return lookups(tokenizer, request, token, native.contexts, native.wordings)


def not_edited_anew(old: NewEdits, new: NewEdits) -> Bool[Tensor, " n"]:
    """Which of the old keys stay: a prompt that is edited again loses its earlier one."""
    return torch.cdist(new.keys.T, old.keys.T.to(new.keys), compute_mode=EXACT).min(0).values.cpu() > _SAME


def joined(old: NewEdits, new: NewEdits) -> NewEdits:
    """Both, the old ones first."""

    def together(field: str) -> Tensor:
        added: Tensor = getattr(new, field)
        return torch.cat([getattr(old, field).to(added.device), added], dim=1)

    keys, outputs, changes = (together(field) for field in ("keys", "outputs", "changes"))
    return NewEdits(keys, outputs, changes, old.labels + new.labels, old.edits + new.edits)
