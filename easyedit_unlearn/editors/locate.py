"""Locate, then edit: what ROME, MEMIT and AlphaEdit share, on any decoder-only model.

Locate: the MLP input at the subject's last token is the key, its output the value. Then edit: find the value that makes
the model refuse, and solve for the weights that map key to value. The three differ only in what they solve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from easyedit_unlearn.components import Job, Method
from easyedit_unlearn.config.fields import Count, Layers, NonNegative, Positive
from easyedit_unlearn.editors.attain import ENOUGH, attained, record
from easyedit_unlearn.editors.corpus import corpus_of
from easyedit_unlearn.editors.keys import (
    at_lookups,
    few_of_each,
    means,
    missed,
    one_context_where_shared,
    owner_of_lookups,
    spread,
    to_all,
)
from easyedit_unlearn.editors.lookup import Lookup, essence_lookup, lookups
from easyedit_unlearn.editors.statistics import cached_key_moments, prompt_moments
from easyedit_unlearn.editors.values import ValueSettings, optimise_values, target_losses
from easyedit_unlearn.errors import AttainmentError, ConfigError
from easyedit_unlearn.model.edits import Snapshot
from easyedit_unlearn.model.hooks import key_value_weight, module_named
from easyedit_unlearn.model.inference import pad_id
from easyedit_unlearn.model.structure import parameters_of, stream_share
from easyedit_unlearn.types import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class LocateThenEditHyperParams:
    """EasyEdit's keys. ``layer_selection``, ``attn_module_tmp``, ``ln_f_module`` and ``lm_head_module`` are read by
    EasyEdit only; here modules are found by structure."""

    alg_name: str
    model_name: Any
    layers: Layers
    fact_token: Literal["last", "subject_first", "subject_last", "subject_first_after_last"]
    v_num_grad_steps: Count
    v_lr: Positive
    v_loss_layer: int
    v_weight_decay: NonNegative
    clamp_norm_factor: Positive
    kl_factor: NonNegative
    mom2_adjustment: bool
    rewrite_module_tmp: str
    layer_module_tmp: str
    mlp_module_tmp: str
    attn_module_tmp: str
    ln_f_module: str
    lm_head_module: str
    mom2_dataset: str
    mom2_n_samples: Count
    mom2_dtype: str
    stats_dir: str
    device: Any = 0
    max_length: Count = 40
    model_parallel: bool = False
    fp16: bool = False


class LocateThenEdit(Method):
    """The shared procedure; subclasses solve one layer. Keeps no state but in the job."""

    host_first = shares_values = needs_subject = True

    def parameters(self, model: Any, hparams: Any) -> Iterable[str]:
        return parameters_of(model, [hparams.rewrite_module_tmp.format(layer) for layer in hparams.layers])

    def keys_of(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, requests: Sequence[Mapping[str, Any]],
        hparams: Any,
    ) -> Float[Tensor, "d_key requests"]:  # fmt: skip
        name = hparams.rewrite_module_tmp.format(max(hparams.layers))
        return at_lookups(
            model, tokenizer, [lookups(tokenizer, r, hparams.fact_token, 1) for r in requests], name, name
        )[0]

    def apply(self, job: Job) -> None:
        """Find values and write them; then look whether the model refuses as it did where they were found, and go on
        from there with those for which it does not, ``unlearn.native.passes`` times in all: a value is found with the
        change injected in the last layer, and written into several, and beside all the others. A pass after which
        less of the targets is said is taken back.

        Raises:
            ConfigError: several layers, where what an MLP puts out is not added to the stream in proportion.
            AttainmentError: less than 0.9 of the change came about.
        """
        hparams = job.hparams
        queries, owners = spread(job.requests)
        native = hparams.unlearn.native
        edits = [lookups(job.tokenizer, q, hparams.fact_token, native.contexts, native.wordings) for q in queries]
        site = Site.of(job.model, hparams)
        moments = self._moments(job) if self.needs_statistics(hparams) else {}
        first: dict[str, Tensor] = {}
        units = _units(queries, edits, owners, native.keys)
        chosen, last = list(range(len(queries))), math.inf
        losses: Tensor | None = None
        for number in range(native.passes):
            picked = few_of_each(owners, chosen, None if losses is None else losses.tolist())
            found = self._deltas(job, queries, edits, owners, site, picked)
            deltas = to_all(found, picked, owners, chosen)
            before = Snapshot(job.model, self.parameters(job.model, hparams)) if number else None
            share = job.state.get("attainment")
            try:
                self._write(job, queries, edits, site, moments, deltas, units, first)
                now = target_losses(job.model, one_context_where_shared(edits, owners), pad_id(job.tokenizer))
            except AttainmentError:
                if before is None:
                    raise
                now = torch.tensor([math.inf])  # what an earlier pass wrote stands
            if before is not None and not float(now.sum()) < last:
                before.edit(job.model).undo(job.model)
                job.state["attainment"] = share
                break
            chosen, last, losses = missed(now, owners), float(now.sum()), now
            if not chosen:
                break
        for name, keys in first.items():
            self.remember(job, name, keys)

    def _write(
        self, job: Job, queries: Sequence[Mapping[str, Any]], edits: Sequence[Sequence[Lookup]], site: Site,
        moments: Mapping[str, Tensor], deltas: Float[Tensor, "d_value queries"], units: Sequence[int],
        first: dict[str, Tensor],
    ) -> None:  # fmt: skip
        """Spread the change over ``hparams.layers``, each taking an even share of what is left (MEMIT, section 4.3);
        then solve on, in the last, for what of it is still missing: what a ridge held back, and what rounding lost.
        ``units``: which lookups are solved for as one key, their mean. ``first``: by module the keys written first."""
        lookup_of = owner_of_lookups(edits)
        promised = (site.share * deltas)[:, lookup_of]
        _, before = at_lookups(job.model, job.tokenizer, edits, site.modules[-1], site.seen)
        advance = job.progress("writing layers", len(site.modules))
        for number, name in enumerate(site.modules):
            every, now = at_lookups(job.model, job.tokenizer, edits, name, site.seen)
            keys = means(every, units)
            covariance = moments[name].to(keys.device) if name in moments else None
            solution = self.solution(job, name, keys, covariance).to(keys)
            left = means(before + promised - now, units) / site.share
            writer = Writer(job.model, name)
            writer.add(left / (len(site.modules) - number) @ solution)
            first.setdefault(name, keys)
            advance(1)
        exact = torch.linalg.pinv(solution @ keys, rtol=_SAME) @ solution
        for further in range(2 * _FURTHER + 1):
            now = at_lookups(job.model, job.tokenizer, edits, name, site.seen)[1]
            missing = bool((attained(now - before, promised) < ENOUGH).any())
            if not missing or further == 2 * _FURTHER:
                break
            left = means(before + promised - now, units) / site.share
            writer.add(left @ (solution if further < _FURTHER else exact))
        record(job, attained(now - before, promised), [queries[i]["prompt"] for i in lookup_of])

    def solution(
        self, job: Job, layer: str, keys: Float[Tensor, "d_key n"], covariance: Float[Tensor, "d_key d_key"] | None
    ) -> Float[Tensor, "n d_key"]:
        """S, by which residuals R become the update R S of the module ``layer``."""
        raise NotImplementedError

    def remember(self, job: Job, layer: str, keys: Float[Tensor, "d_key n"]) -> None:
        """Whatever later edits of the sequence must know of these."""

    def needs_statistics(self, hparams: Any) -> bool:
        """True if the solution weighs what the layer already maps."""
        return True

    def needs_text(self, hparams: Any) -> bool:
        return self.needs_statistics(hparams)

    def bounded_by_module(self, hparams: Any) -> bool:
        """True if the norm of what the module itself puts out bounds delta, not that of the decoder layer."""
        return False

    def _deltas(
        self, job: Job, queries: Sequence[Mapping[str, Any]], edits: Sequence[Sequence[Lookup]], owners: Sequence[int],
        site: Site, chosen: Sequence[int],
    ) -> Float[Tensor, "d_value chosen"]:  # fmt: skip
        """What is to be added to what the last module puts out, for every one of the ``chosen`` queries."""
        h = job.hparams
        by_module = site.seen == site.modules[-1] or self.bounded_by_module(h)
        rows = one_context_where_shared(edits, owners)
        subjects = [queries[i].get("subject") for i in chosen]
        return optimise_values(
            job.model,
            [h.layer_module_tmp.format(i) for i in range(max(h.layers) + 1)],
            site.modules[-1],
            [rows[i] for i in chosen],
            ValueSettings(
                h.v_num_grad_steps,
                h.v_lr,
                h.v_weight_decay,
                h.clamp_norm_factor,
                h.kl_factor,
                h.unlearn.native.products,
            ),
            pad_id=pad_id(job.tokenizer),
            progress=job.progress,
            essence=[essence_lookup(job.tokenizer, subject) for subject in subjects if subject],
            norm_of=None if by_module else (site.seen, 1 / site.share),
            owners=[owners[i] for i in chosen],
        )

    def _moments(self, job: Job) -> dict[str, Float[Tensor, "d_key d_key"]]:
        """Per layer, of the corpus plus retain_weight times that of the retain prompts: what must not be disturbed.

        A sequence keeps those of the model before its first edit, as EasyEdit does.
        """
        if "moments" in job.state:
            known: dict[str, Tensor] = job.state["moments"]
            return known
        native = job.hparams.unlearn.native
        corpus = corpus_of(native, self.name, job.retain)
        names = [job.hparams.rewrite_module_tmp.format(layer) for layer in sorted(job.hparams.layers)]
        moments = cached_key_moments(job.model, job.tokenizer, names, corpus, progress=job.progress)
        if job.retain and native.retain_weight:
            own = prompt_moments(job.model, job.tokenizer, names, [prompt for prompt, _ in job.retain])
            moments = {name: moments[name] + native.retain_weight * own[name] for name in names}
        job.state["moments"] = moments
        return moments


@dataclass(frozen=True)
class Site:
    """Where an edit is written, and where its change is seen.

    Attributes:
        modules: that are written, in order. seen: the last decoder layer, into whose output what they put out is added
            times ``share``; or the one module itself, where that is not so.
    """

    modules: list[str]
    seen: str
    share: float

    @classmethod
    def of(cls, model: Any, hparams: Any) -> Site:
        layers = sorted(hparams.layers)
        modules = [hparams.rewrite_module_tmp.format(layer) for layer in layers]
        last = hparams.layer_module_tmp.format(layers[-1])
        share = stream_share(model, last, modules[-1])
        if share is not None:
            return cls(modules, last, share)
        if len(modules) > 1:
            raise ConfigError(
                f"{type(model).__name__} does not add what {modules[-1]} puts out to its stream in proportion (a norm "
                f"lies between), so no change can be spread over layers: name one", key="layers", value=layers,
            )  # fmt: skip
        return cls(modules, modules[0], 1.0)


class Writer:
    """Updates of one module's weight, summed in float32 and rounded once each time it is written."""

    def __init__(self, model: Any, name: str) -> None:
        self._weight = key_value_weight(module_named(model, name))
        self._whole = self._weight.detach().float()

    def add(self, update: Float[Tensor, "d_value d_key"]) -> None:
        self._whole = self._whole + update.to(self._whole)
        with torch.no_grad():
            self._weight.copy_(self._whole)


def _units(
    queries: Sequence[Mapping[str, Any]], edits: Sequence[Sequence[Lookup]], owners: Sequence[int],
    keys: Literal["each", "mean"],
) -> list[int]:  # fmt: skip
    """For every lookup the key it is solved for with: its own, or the mean of those of its edit and subject."""
    every = owner_of_lookups(edits)
    if keys == "each":
        return list(range(len(every)))
    names = [(owners[query], queries[query].get("subject")) for query in every]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


_FURTHER = 4
"""Times that what is missing is solved for as the method does; and so often again exactly, as far as keys differ."""
_SAME = 1e-4
"""Keys that differ by less than this share count as one."""
