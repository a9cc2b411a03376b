"""GRACE and WISE of our own: they leave the weights alone and attach a memory beside one layer (see ``adapters``).

Both look at the subject's last token where a request names its subject, at the prompt's last token otherwise. There
the value that makes the model refuse is found as in ROME; the two differ in which other inputs it answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from easyedit_unlearn.components import Stage
from easyedit_unlearn.editors.adapters import Adapter, Codebook, SideMemory, attach, attached, detach
from easyedit_unlearn.editors.grace import deferral_radii
from easyedit_unlearn.editors.inputs import corpus_inputs, outside_inputs, passing
from easyedit_unlearn.editors.keys import one_context_where_shared, spread
from easyedit_unlearn.editors.lookup import Lookup, lookups
from easyedit_unlearn.editors.modules import key_value_weight, module_named
from easyedit_unlearn.editors.paths import decoder_layers, edited_layer
from easyedit_unlearn.editors.values import ValueSettings, optimise_values
from easyedit_unlearn.editors.wise import MarginSettings, masked_least_squares, random_mask, sharpen, threshold
from easyedit_unlearn.errors import ConfigError, UnlearnError
from easyedit_unlearn.evaluation.inference import pad_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_HUNDREDTH = 0.01
_SAME = 1e-4  # two keys so near are one prompt, edited twice


@dataclass
class _Found:
    """What both need: keys (d_key, n) and outputs (d_value, n) of the layer, and the change of output that refuses."""

    keys: Tensor
    outputs: Tensor
    changes: Tensor
    labels: list[str]
    edits: int

    def only(self, stay: Tensor) -> _Found:
        """Without the keys that must go; stay (n,) is boolean."""
        labels = [label for label, kept in zip(self.labels, stay.tolist(), strict=True) if kept]
        place = stay.to(self.keys.device)
        return _Found(self.keys[:, place], self.outputs[:, place], self.changes[:, place], labels, self.edits)


class NativeMemory:
    """The shared procedure; subclasses turn what was found into an adapter."""

    def apply(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        requests: Sequence[Mapping[str, Any]],
        hparams: Any,
        *,
        retain: Sequence[tuple[str, str]],
        stage: Stage,
    ) -> None:
        """One memory for all requests of the call, added to what earlier calls in a sequence attached."""
        name = edited_layer(hparams.inner_params)
        standing = attached(model).get(name)
        if standing is not None and standing.method != hparams.alg_name:
            raise UnlearnError(f"{standing.method} acts beside {name} already; choose another layer, or detach(model)")
        detach(model, name)  # values are sought on the bare layer; put back by the caller's guard if this fails
        queries, owners = spread(requests)
        edits = [self._lookups(tokenizer, query, hparams) for query in queries]
        targets = [str(query["target_new"]) for query in queries]
        found = self._find(model, name, edits, owners, targets, hparams, pad_id(tokenizer), stage)
        outside = outside_inputs(model, tokenizer, name, queries, edits, retain)
        attach(model, name, self.remember(model, tokenizer, found, outside, standing, hparams, stage))

    def remember(
        self, model: Any, tokenizer: Any, found: _Found, outside: Tensor, standing: Adapter | None, hparams: Any,
        stage: Stage,
    ) -> Adapter:  # fmt: skip
        raise NotImplementedError

    def _value_settings(self, hparams: Any) -> ValueSettings:
        native = hparams.unlearn.native
        return ValueSettings(native.value_steps, native.value_lr, 0.0, native.value_clamp)

    def _lookups(self, tokenizer: Any, request: Mapping[str, Any], hparams: Any) -> list[Lookup]:
        native = hparams.unlearn.native
        token = native.fact_token if request.get("subject") else "last"
        return lookups(tokenizer, request, token, native.contexts)

    def _find(
        self, model: Any, name: str, edits: list[list[Lookup]], owners: list[int], targets: list[str], hparams: Any,
        pad: int, stage: Stage,
    ) -> _Found:  # fmt: skip
        layers = decoder_layers(name)
        settings = self._value_settings(hparams)
        sought = one_context_where_shared(edits, owners)
        values = optimise_values(model, layers, sought, settings, pad_id=pad, stage=stage, owners=owners)
        owner = [number for number, contexts in enumerate(edits) for _ in contexts]
        flat = [lookup for contexts in edits for lookup in contexts]
        rows, places = torch.arange(len(flat)), torch.tensor([lookup.position for lookup in flat])
        keys, outputs = passing(model, name, [lookup.prompt for lookup in flat], pad)
        _, hidden = passing(model, layers[-1], [lookup.prompt for lookup in flat], pad)
        if outputs.shape[-1] != hidden.shape[-1]:
            raise ConfigError(
                "our own GRACE and WISE need the projection whose output joins the residual stream, such as "
                "mlp.down_proj, mlp.c_proj or mlp.fc_out", key="inner_params", value=hparams.inner_params,
            )  # fmt: skip
        # it is added there, so a change of the stream is a change of this output
        first = [owner.index(number) for number in range(len(edits))]
        changes = (values.T - hidden[rows, places][first])[owner]  # the same change in every context
        return _Found(keys[rows, places].T, outputs[rows, places].T, changes.T, [targets[i] for i in owner], len(edits))


class NativeGRACE(NativeMemory):
    """arXiv 2211.11031; ``n_iter``, ``edit_lr`` and ``eps`` are EasyEdit's keys."""

    def _value_settings(self, hparams: Any) -> ValueSettings:
        # no clamp: a value answers only within its ball
        return ValueSettings(hparams.n_iter, hparams.edit_lr, 0.0, float("inf"))

    def remember(
        self, model: Any, tokenizer: Any, found: _Found, outside: Tensor, standing: Adapter | None, hparams: Any,
        stage: Stage,
    ) -> Adapter:  # fmt: skip
        limits = torch.full((found.keys.shape[1],), float(hparams.eps), device=found.keys.device)
        if isinstance(standing, Codebook):
            old = standing.basis or _read_back(standing)
            stay = _not_edited_anew(old, found)
            # an old ball never grows: its own retain set may have been another
            limits = torch.cat([standing.tensors["radii"].to(limits)[stay.to(limits.device)], limits])
            found = _joined(old.only(stay), found)
        keys, values = found.keys.T, (found.outputs + found.changes).T
        radii = torch.minimum(deferral_radii(keys, found.labels, hparams.eps, outside), limits)
        codebook = Codebook(keys=keys, values=values, radii=radii)
        codebook.basis = found
        return codebook


class NativeWISE(NativeMemory):
    """arXiv 2405.14768, retrieving among shards of ``save_freq`` edits; the keys are EasyEdit's.

    ``edit_lr`` is in hundredths of the layer's mean |W| a step, so that EasyEdit's own 1.0 fits every model.
    """

    def remember(
        self, model: Any, tokenizer: Any, found: _Found, outside: Tensor, standing: Adapter | None, hparams: Any,
        stage: Stage,
    ) -> Adapter:  # fmt: skip
        name = edited_layer(hparams.inner_params)
        weight = key_value_weight(module_named(model, name))
        changes, limits = ([], []) if standing is None else (list(standing.tensors[f]) for f in SideMemory.fields)
        if standing is not None and standing.basis is not None and standing.basis.edits < (hparams.save_freq or 1e9):
            # the last shard is still open: it is solved anew for all it holds
            found = _joined(standing.basis.only(_not_edited_anew(standing.basis, found)), found)
            changes, limits = changes[:-1], limits[:-1]
        draw = torch.Generator().manual_seed(hparams.unlearn.seed)
        masks = [random_mask(weight.shape, hparams.mask_ratio, draw) for _ in range(len(changes) + 1)]
        mask = masks[-1].to(weight.device)  # one a shard, the same ones for the same seed
        settings = MarginSettings(
            hparams.n_iter, hparams.edit_lr * _HUNDREDTH * float(weight.detach().abs().mean()),
            hparams.norm_constraint, hparams.alpha, hparams.beta, hparams.gamma,
        )  # fmt: skip
        text = corpus_inputs(model, tokenizer, name, hparams)
        if not len(text) and not len(outside):
            raise ConfigError("WISE needs a retain set, or text: unlearn.native.corpus", key="unlearn.retain")
        covariance = _second_moment(text) + hparams.unlearn.native.retain_weight * _second_moment(outside)
        change = masked_least_squares(found.keys, found.changes, covariance, mask, 1.0)
        advance = stage("training the side memory", settings.steps)
        change = sharpen(change, mask, found.keys, found.changes, torch.cat([outside, text]), settings, advance)
        limit = torch.tensor(threshold(change, found.keys, outside, hparams.act_ratio))
        memory = SideMemory(changes=torch.stack([*changes, change.cpu()]), thresholds=torch.stack([*limits, limit]))
        memory.basis = found
        return memory


def _not_edited_anew(old: _Found, new: _Found) -> Tensor:
    """Which of the old keys stay, (n,): a prompt that is edited again loses its earlier one."""
    return torch.cdist(new.keys.T, old.keys.T.to(new.keys)).min(0).values.cpu() > _SAME


def _joined(old: _Found, new: _Found) -> _Found:
    def together(field: str) -> Tensor:
        added: Tensor = getattr(new, field)
        return torch.cat([getattr(old, field).to(added.device), added], dim=1)

    keys, outputs, changes = (together(field) for field in ("keys", "outputs", "changes"))
    return _Found(keys, outputs, changes, old.labels + new.labels, old.edits + new.edits)


def _read_back(codebook: Codebook) -> _Found:
    """A loaded codebook does not record what its values make the model say: something other than any new one."""
    keys, values = codebook.tensors["keys"].T, codebook.tensors["values"].T
    labels = ["\x00loaded"] * keys.shape[1]
    return _Found(keys, values, torch.zeros_like(values), labels, len(labels))


def _second_moment(inputs: Tensor) -> Tensor:
    return inputs.T @ inputs / max(len(inputs), 1)
