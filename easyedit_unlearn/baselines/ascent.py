"""Gradient ascent on what to forget, alone or with a term that retains (TOFU, arXiv 2401.06121, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.losses import graddiff, kl_terms
from easyedit_unlearn.baselines.settings import BaselineHyperParams, WeightedHyperParams


class GA(Baseline):
    name = "GA"
    HyperParams = BaselineHyperParams
    parts = ("forget",)

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        return -batch["forget"].mean_nll


class GradDiff(Baseline):
    name = "GradDiff"
    HyperParams = WeightedHyperParams
    parts = ("forget", "retain")

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        return graddiff(batch["forget"].mean_nll, batch["retain"].mean_nll, hparams.gamma, hparams.alpha)


class KL(Baseline):
    name = "KL"
    HyperParams = WeightedHyperParams
    parts = ("forget", "retain")
    remembers = (("retain", "logits"),)

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        kept = batch["retain"]
        near = kept.mean(kl_terms(kept.logits, kept.frozen))
        return graddiff(batch["forget"].mean_nll, near, hparams.gamma, hparams.alpha)
