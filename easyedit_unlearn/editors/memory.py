"""What GRACE and WISE share: they leave the weights alone and attach a memory beside one layer (``model.memories``).

Both look at the subject's last token where a request names its subject, at the prompt's last token otherwise. There
the value that makes the model refuse is found as in ROME; the two differ in which other inputs it answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from easyedit_unlearn.components import Job, Method
from easyedit_unlearn.config.fields import Count, Positive
from easyedit_unlearn.editors.attain import attained, record
from easyedit_unlearn.editors.inputs import outside_inputs
from easyedit_unlearn.editors.keys import at_lookups, one_context_where_shared, owner_of_lookups, spread
from easyedit_unlearn.editors.lookup import Lookup, lookups
from easyedit_unlearn.editors.values import ValueSettings, optimise_values
from easyedit_unlearn.errors import ConfigError, UnlearnError
from easyedit_unlearn.model.hooks import layer_shape, module_named
from easyedit_unlearn.model.inference import pad_id
from easyedit_unlearn.model.memories import Adapter, attach, attached, detach
from easyedit_unlearn.model.structure import decoder_layers, edited_layer, stream_share


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
        """One memory for all requests of the call, added to what earlier calls in a sequence attached.

        Raises:
            AttainmentError: at some lookup the memory does not put out what was found.
        """
        name = edited_layer(job.hparams.inner_params)
        standing = attached(job.model).get(name)
        if standing is not None and standing.method != self.name:
            raise UnlearnError(f"{standing.method} acts beside {name} already; choose another layer, or detach(model)")
        detach(job.model, name)  # values are sought on the bare layer; put back by the caller's guard if this fails
        queries, owners = spread(job.requests)
        edits = [self._lookups(job, query) for query in queries]
        found = self._find(job, name, edits, owners, [str(query["target_new"]) for query in queries])
        outside = outside_inputs(job.model, job.tokenizer, name, queries, edits, job.retain, found.keys)
        attach(job.model, name, self.remember(job, name, found, outside, standing))
        now = at_lookups(job.model, job.tokenizer, edits, name, name)[1]
        prompts = [queries[i]["prompt"] for i in owner_of_lookups(edits)]
        record(job, attained(now - found.outputs, found.changes), prompts)

    def remember(
        self, job: Job, layer: str, found: NewEdits, outside: Float[Tensor, "tokens d_key"], standing: Adapter | None
    ) -> Adapter:
        """The memory beside ``layer``: what was ``found`` now and by the one ``standing`` there. ``outside``: inputs
        that must be left alone."""
        raise NotImplementedError

    def value_settings(self, hparams: Any) -> ValueSettings:
        native = hparams.unlearn.native
        return ValueSettings(
            native.value_steps, native.value_lr, 0.0, native.value_clamp, products=native.products
        )

    def _lookups(self, job: Job, request: Mapping[str, Any]) -> list[Lookup]:
        native = job.hparams.unlearn.native
        token = native.fact_token if request.get("subject") else "last"
        return lookups(job.tokenizer, request, token, native.contexts, native.wordings)

    def _find(
        self, job: Job, name: str, edits: Sequence[Sequence[Lookup]], owners: Sequence[int], targets: Sequence[str]
    ) -> NewEdits:
        changes = optimise_values(
            job.model, decoder_layers(name), name, one_context_where_shared(edits, owners),
            self.value_settings(job.hparams), pad_id=pad_id(job.tokenizer), progress=job.progress, owners=owners,
            norm_of=self._bound(job, name),
        )  # fmt: skip
        keys, outputs = at_lookups(job.model, job.tokenizer, edits, name, name)
        owner = owner_of_lookups(edits)
        # the same change in every context
        return NewEdits(keys, outputs, changes[:, owner], [targets[i] for i in owner], len(edits))

    def _bound(self, job: Job, name: str) -> tuple[str, float] | None:
        """Whose norm bounds a value's change: the decoder layer's, where what the module puts out is added to it."""
        layer = decoder_layers(name)[-1]
        share = stream_share(job.model, layer, name)
        return (layer, 1 / share) if share is not None else None


def not_edited_anew(old: NewEdits, new: NewEdits) -> Bool[Tensor, " n"]:
    """Which of the old keys stay: a prompt that is edited again loses its earlier one."""
    return torch.cdist(new.keys.T, old.keys.T.to(new.keys)).min(0).values.cpu() > _SAME


def joined(old: NewEdits, new: NewEdits) -> NewEdits:
    """Both, the old ones first."""

    def together(field: str) -> Tensor:
        added: Tensor = getattr(new, field)
        return torch.cat([getattr(old, field).to(added.device), added], dim=1)

    keys, outputs, changes = (together(field) for field in ("keys", "outputs", "changes"))
    return NewEdits(keys, outputs, changes, old.labels + new.labels, old.edits + new.edits)
