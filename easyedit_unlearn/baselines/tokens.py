"""Losses that treat each answer token by itself: WGA, SatImp, CEU and UNDIAL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.hparams import NonNegative, Positive, WeightedHyperParams


class _TokenBaseline(Baseline):
    """``gamma`` times a mean of terms, one a token of what to forget, and ``alpha`` times the retain set's NLL."""

    parts = ("forget", "retain")

    @abstractmethod
    def terms(self, forget: Any, hparams: Any) -> Any:
        """(tokens,)."""

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        forget = batch["forget"]
        return hparams.gamma * forget.mean(self.terms(forget, hparams)) + hparams.alpha * batch["retain"].mean_nll


@dataclass
class WGAHyperParams(WeightedHyperParams):
    """``beta``: how much less the tokens count that are unlikely already."""

    beta: NonNegative = 1.0


class WGA(_TokenBaseline):
    name = "WGA"
    summary = "Gradient ascent weighted by the token's probability (arXiv 2502.19301)."
    HyperParams = WGAHyperParams

    def terms(self, forget: Any, hparams: Any) -> Any:
        from easyedit_unlearn.baselines.losses import wga_terms

        return wga_terms(forget.nll, hparams.beta)


@dataclass
class SatImpHyperParams(WeightedHyperParams):
    """``beta1`` weighs tokens by saturation, p, and ``beta2`` by importance, 1 - p."""

    beta1: NonNegative = 5.0
    beta2: NonNegative = 1.0


class SatImp(_TokenBaseline):
    name = "SatImp"
    summary = "Gradient ascent weighted by saturation and importance (arXiv 2505.11953)."
    HyperParams = SatImpHyperParams

    def terms(self, forget: Any, hparams: Any) -> Any:
        from easyedit_unlearn.baselines.losses import satimp_terms

        return satimp_terms(forget.nll, hparams.beta1, hparams.beta2)


class CEU(_TokenBaseline):
    name = "CEU"
    summary = "Towards the model's own distribution without the true token (arXiv 2503.01224)."
    HyperParams = WeightedHyperParams

    def terms(self, forget: Any, hparams: Any) -> Any:
        from easyedit_unlearn.baselines.losses import ceu_terms

        return ceu_terms(forget.logits, forget.labels)


@dataclass
class UNDIALHyperParams(WeightedHyperParams):
    """``beta``: by how much the frozen model's logit of the true token is lowered. The paper trains at 1e-4."""

    beta: Positive = 10.0


class UNDIAL(_TokenBaseline):
    name = "UNDIAL"
    summary = "Self-distillation from the frozen model's logits, the true token's lowered (arXiv 2402.10052)."
    HyperParams = UNDIALHyperParams
    remembers = (("forget", "logits"),)

    def terms(self, forget: Any, hparams: Any) -> Any:
        from easyedit_unlearn.baselines.losses import undial_terms

        return undial_terms(forget.logits, forget.labels, forget.frozen, hparams.beta)
