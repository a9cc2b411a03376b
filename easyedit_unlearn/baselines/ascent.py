"""Gradient ascent on what to forget, alone or with a term that retains (TOFU, arXiv 2401.06121, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.hparams import BaselineHyperParams, WeightedHyperParams


class GA(Baseline):
    name = "GA"
    summary = "Gradient ascent on the forget set (arXiv 2401.06121)."
    HyperParams = BaselineHyperParams
    parts = ("forget",)

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        return -batch["forget"].mean_nll


class GradDiff(Baseline):
    name = "GradDiff"
    summary = "Gradient ascent on the forget set, descent on the retain set (arXiv 2401.06121)."
    HyperParams = WeightedHyperParams
    parts = ("forget", "retain")

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        from easyedit_unlearn.baselines.losses import graddiff

        return graddiff(batch["forget"].mean_nll, batch["retain"].mean_nll, hparams.gamma, hparams.alpha)


class KL(Baseline):
    name = "KL"
    summary = (
        "Gradient ascent on the forget set; on the retain set as near the frozen model as can be (arXiv 2401.06121)."
    )
    HyperParams = WeightedHyperParams
    parts = ("forget", "retain")
    remembers = (("retain", "logits"),)

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        from easyedit_unlearn.baselines.losses import graddiff, kl_terms

        kept = batch["retain"]
        near = kept.mean(kl_terms(kept.logits, kept.frozen))
        return graddiff(batch["forget"].mean_nll, near, hparams.gamma, hparams.alpha)
