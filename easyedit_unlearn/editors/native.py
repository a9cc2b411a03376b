"""ROME, MEMIT and AlphaEdit of our own: the same names, keys and contract as EasyEdit's, on any decoder-only model.

Locate: the MLP input at the subject's last token is the key, its output the value. Then edit: find the value that makes
the model refuse, and solve for the weights that map key to value. The three differ only in what they solve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.components import Stage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from easyedit_unlearn.editors.lookup import Lookup


class LocateThenEdit:
    """The shared procedure; subclasses solve one layer. Keeps no state between calls."""

    def needs_statistics(self, hparams: Any) -> bool:
        """Whether the solution weighs what the layer already maps."""
        return True

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
        """Spread the change over ``hparams.layers``, each taking an even share of what is left (MEMIT, section 4.3)."""
        import torch

        from easyedit_unlearn.editors.keys import keys_and_outputs, spread
        from easyedit_unlearn.editors.lookup import lookups
        from easyedit_unlearn.editors.modules import key_value_weight, module_named

        queries, owners = spread(requests)
        edits = [lookups(tokenizer, q, hparams.fact_token, hparams.unlearn.native.contexts) for q in queries]
        moments = self._moments(model, tokenizer, hparams, retain, stage) if self.needs_statistics(hparams) else {}
        values = self._values(model, tokenizer, queries, edits, owners, hparams, stage)
        layers = sorted(hparams.layers)
        advance = stage("writing layers", len(layers))
        for number, layer in enumerate(layers):
            name = hparams.rewrite_module_tmp.format(layer)
            keys, outputs = keys_and_outputs(model, tokenizer, name, last_layer(hparams), edits)
            residuals = (values - outputs) / (len(layers) - number)
            update = self.solve(name, keys, residuals, moments.get(name), hparams)
            weight = key_value_weight(module_named(model, name))
            with torch.no_grad():
                weight += update.to(weight.dtype)
            advance(1)

    def _values(
        self,
        model: Any,
        tokenizer: Any,
        queries: Sequence[Mapping[str, Any]],
        edits: Sequence[Sequence[Lookup]],
        owners: Sequence[int],
        hparams: Any,
        stage: Stage,
    ) -> torch.Tensor:
        """What the last layer is to put out for every query, (d_model, queries)."""
        from easyedit_unlearn.editors.keys import one_context_where_shared
        from easyedit_unlearn.editors.lookup import essence_lookup
        from easyedit_unlearn.editors.values import ValueSettings, optimise_values
        from easyedit_unlearn.evaluation.inference import pad_id

        settings = ValueSettings(
            hparams.v_num_grad_steps, hparams.v_lr, hparams.v_weight_decay, hparams.clamp_norm_factor, hparams.kl_factor
        )
        return optimise_values(
            model,
            [hparams.layer_module_tmp.format(i) for i in range(max(hparams.layers) + 1)],
            one_context_where_shared(edits, owners),
            settings,
            pad_id=pad_id(tokenizer),
            stage=stage,
            essence=[essence_lookup(tokenizer, q["subject"]) for q in queries if q.get("subject")],
            norm_of=self.norm_of(hparams),
            owners=owners,
        )

    def norm_of(self, hparams: Any) -> str | None:
        """The module whose output's norm bounds the change of value; the decoder layer without one."""
        return None

    def solve(
        self, name: str, keys: torch.Tensor, residuals: torch.Tensor, covariance: torch.Tensor | None, hparams: Any
    ) -> torch.Tensor:
        """The update (d_value, d_key) of layer ``name`` for keys (d_key, n) and residuals (d_value, n)."""
        raise NotImplementedError

    def _moments(self, model: Any, tokenizer: Any, hparams: Any, retain: Any, stage: Stage) -> dict[str, torch.Tensor]:
        """Per layer, of the corpus plus retain_weight times that of the retain prompts: what must not be disturbed.

        A sequence keeps those of the model before its first edit, as EasyEdit does.
        """
        from easyedit_unlearn.editors.corpus import Corpus, corpus_of
        from easyedit_unlearn.editors.statistics import cached_key_moments, key_moments

        if "moments" in hparams.history:
            known: dict[str, torch.Tensor] = hparams.history["moments"]
            return known
        native = hparams.unlearn.native
        corpus = corpus_of(native, hparams.alg_name, retain)
        names = [hparams.rewrite_module_tmp.format(layer) for layer in sorted(hparams.layers)]
        moments = cached_key_moments(model, tokenizer, names, corpus, stage=stage)
        if retain and native.retain_weight:
            prompts = Corpus([prompt for prompt, _ in retain], native.corpus_tokens)
            own = key_moments(model, tokenizer, names, prompts)
            moments = {name: moments[name] + native.retain_weight * own[name] for name in names}
        hparams.history["moments"] = moments
        return moments


class NativeROME(LocateThenEdit):
    """One request at a time, exactly: the rank-one update (arXiv 2202.05262, equation 2), of rank k for k queries that
    share a value."""

    def needs_statistics(self, hparams: Any) -> bool:
        return bool(hparams.mom2_adjustment)

    def norm_of(self, hparams: Any) -> str | None:
        return str(hparams.mlp_module_tmp.format(max(hparams.layers)))

    def solve(self, name: str, keys: Any, residuals: Any, covariance: Any, hparams: Any) -> Any:
        from easyedit_unlearn.editors.solve import rome_update

        # float64: covariances of neighbouring activations are all but singular
        covariance = None if covariance is None else covariance.double()
        return rome_update(keys.double(), residuals.double(), covariance).float()


class NativeMEMIT(LocateThenEdit):
    """arXiv 2210.07229, equation 14."""

    def solve(self, name: str, keys: Any, residuals: Any, covariance: Any, hparams: Any) -> Any:
        from easyedit_unlearn.editors.solve import memit_update

        return memit_update(keys.double(), residuals.double(), covariance.double(), hparams.mom2_update_weight).float()


class NativeAlphaEdit(LocateThenEdit):
    """arXiv 2410.02355, equation 14."""

    def solve(self, name: str, keys: Any, residuals: Any, covariance: Any, hparams: Any) -> Any:
        from easyedit_unlearn.editors.solve import alphaedit_update
        from easyedit_unlearn.editors.statistics import cached_null_space

        dimensions = hparams.unlearn.native.null_space_dimensions
        threshold = None if dimensions else hparams.nullspace_threshold
        projection = cached_null_space(covariance, threshold=threshold, dimensions=dimensions)
        previous = hparams.history.get(name)
        update = alphaedit_update(keys, residuals, projection, hparams.L2, previous)
        gram = keys @ keys.T
        hparams.history[name] = gram if previous is None else previous + gram  # what later edits must keep
        return update


def last_layer(hparams: Any) -> str:
    """The decoder layer whose output is the value."""
    return str(hparams.layer_module_tmp.format(max(hparams.layers)))
