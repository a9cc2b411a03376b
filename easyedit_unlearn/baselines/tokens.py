"""Losses that treat each answer token by itself: WGA, SatImp, CEU and UNDIAL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.losses import ceu_terms, satimp_terms, undial_terms, wga_terms
from easyedit_unlearn.baselines.settings import WeightedHyperParams
from easyedit_unlearn.config.fields import NonNegative, Positive


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
    HyperParams = WGAHyperParams

    def terms(self, forget: Any, hparams: Any) -> Any:
        return wga_terms(forget.nll, hparams.beta)


@dataclass
class SatImpHyperParams(WeightedHyperParams):
    """``beta1`` weighs tokens by saturation, p, and ``beta2`` by importance, 1 - p."""

    beta1: NonNegative = 5.0
    beta2: NonNegative = 1.0


class SatImp(_TokenBaseline):
    name = "SatImp"
    HyperParams = SatImpHyperParams

    def terms(self, forget: Any, hparams: Any) -> Any:
        return satimp_terms(forget.nll, hparams.beta1, hparams.beta2)


class CEU(_TokenBaseline):
    name = "CEU"
    HyperParams = WeightedHyperParams

    def terms(self, forget: Any, hparams: Any) -> Any:
        return ceu_terms(forget.logits, forget.labels)


@dataclass
class UNDIALHyperParams(WeightedHyperParams):
    """``beta``: by how much the frozen model's logit of the true token is lowered. The paper trains at 1e-4."""

    beta: Positive = 10.0


class UNDIAL(_TokenBaseline):
    name = "UNDIAL"
    HyperParams = UNDIALHyperParams
    remembers = (("forget", "logits"),)

    def terms(self, forget: Any, hparams: Any) -> Any:
        return undial_terms(forget.logits, forget.labels, forget.frozen, hparams.beta)
