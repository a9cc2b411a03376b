"""Locate, then edit: what ROME, MEMIT and AlphaEdit share, on any decoder-only model.

Locate: the MLP input at the subject's last token is the key, its output the value. Then edit: find the value that makes
the model refuse, and solve for the weights that map key to value. The three differ only in what they solve.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from easyedit_unlearn.components import Job, Method
from easyedit_unlearn.config.fields import Count, Layers, NonNegative, Positive
from easyedit_unlearn.editors.corpus import Corpus, corpus_of
from easyedit_unlearn.editors.keys import keys_and_outputs, one_context_where_shared, spread
from easyedit_unlearn.editors.lookup import Lookup, essence_lookup, lookups
from easyedit_unlearn.editors.statistics import cached_key_moments, key_moments
from easyedit_unlearn.editors.values import ValueSettings, optimise_values
from easyedit_unlearn.model.hooks import key_value_weight, module_named
from easyedit_unlearn.model.inference import pad_id
from easyedit_unlearn.model.structure import parameters_of


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

    def apply(self, job: Job) -> None:
        """Spread the change over ``hparams.layers``, each taking an even share of what is left (MEMIT, section 4.3)."""
        hparams = job.hparams
        queries, owners = spread(job.requests)
        edits = [lookups(job.tokenizer, q, hparams.fact_token, hparams.unlearn.native.contexts) for q in queries]
        moments = self._moments(job) if self.needs_statistics(hparams) else {}
        values = self._values(job, queries, edits, owners)
        layers = sorted(hparams.layers)
        advance = job.progress("writing layers", len(layers))
        for number, layer in enumerate(layers):
            name = hparams.rewrite_module_tmp.format(layer)
            keys, outputs = keys_and_outputs(job.model, job.tokenizer, name, last_layer(hparams), edits)
            residuals = (values - outputs) / (len(layers) - number)
            update = self.solve(job, name, keys, residuals, moments.get(name))
            weight = key_value_weight(module_named(job.model, name))
            with torch.no_grad():
                weight += update.to(weight.dtype)
            advance(1)

    def solve(
        self,
        job: Job,
        layer: str,
        keys: Float[Tensor, "d_key n"],
        residuals: Float[Tensor, "d_value n"],
        covariance: Float[Tensor, "d_key d_key"] | None,
    ) -> Float[Tensor, "d_value d_key"]:
        """The update of the module ``layer``."""
        raise NotImplementedError

    def needs_statistics(self, hparams: Any) -> bool:
        """True if the solution weighs what the layer already maps."""
        return True

    def norm_of(self, hparams: Any) -> str | None:
        """The module whose output's norm bounds the change of value; the decoder layer without one."""
        return None

    def _values(
        self, job: Job, queries: Sequence[Mapping[str, Any]], edits: Sequence[Sequence[Lookup]], owners: Sequence[int]
    ) -> Float[Tensor, "d_model queries"]:
        """What the last layer is to put out for every query."""
        h = job.hparams
        return optimise_values(
            job.model,
            [h.layer_module_tmp.format(i) for i in range(max(h.layers) + 1)],
            one_context_where_shared(edits, owners),
            ValueSettings(h.v_num_grad_steps, h.v_lr, h.v_weight_decay, h.clamp_norm_factor, h.kl_factor),
            pad_id=pad_id(job.tokenizer),
            progress=job.progress,
            essence=[essence_lookup(job.tokenizer, q["subject"]) for q in queries if q.get("subject")],
            norm_of=self.norm_of(h),
            owners=owners,
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
            prompts = Corpus([prompt for prompt, _ in job.retain], native.corpus_tokens)
            own = key_moments(job.model, job.tokenizer, names, prompts)
            moments = {name: moments[name] + native.retain_weight * own[name] for name in names}
        job.state["moments"] = moments
        return moments


def last_layer(hparams: Any) -> str:
    """The decoder layer whose output is the value."""
    return str(hparams.layer_module_tmp.format(max(hparams.layers)))
