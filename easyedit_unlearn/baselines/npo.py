"""Negative preference optimisation: the answer as what is not preferred, so that ascent slows down by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.losses import npo, simnpo
from easyedit_unlearn.baselines.refusals import PreferenceHyperParams
from easyedit_unlearn.baselines.settings import WeightedHyperParams
from easyedit_unlearn.config.fields import NonNegative, Positive


class NPO(Baseline):
    name = "NPO"
    HyperParams = PreferenceHyperParams
    parts = ("forget", "retain")
    remembers = (("forget", "logprob"),)

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        forgotten = npo(batch["forget"].logprob, batch["forget"].frozen, hparams.beta)
        return hparams.gamma * forgotten + hparams.alpha * batch["retain"].mean_nll


@dataclass
class SimNPOHyperParams(WeightedHyperParams):
    """``beta`` and the margin ``delta`` of log pi(y) / |y|, which takes the place of NPO's reference."""

    gamma: Positive = 0.125
    beta: Positive = 4.5
    delta: NonNegative = 0.0


class SimNPO(Baseline):
    name = "SimNPO"
    HyperParams = SimNPOHyperParams
    parts = ("forget", "retain")

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        forgotten = simnpo(batch["forget"].mean_logprob, hparams.beta, hparams.delta)
        return hparams.gamma * forgotten + hparams.alpha * batch["retain"].mean_nll
