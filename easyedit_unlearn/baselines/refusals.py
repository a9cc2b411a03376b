"""Fine-tuning on refusals: PO, IDK+AP and DPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.losses import answer_preservation, dpo, preference
from easyedit_unlearn.baselines.settings import WeightedHyperParams
from easyedit_unlearn.config.fields import Positive


class PO(Baseline):
    name = "PO"
    HyperParams = WeightedHyperParams
    parts = ("refusal", "retain")

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        return preference(batch["refusal"].mean_nll, batch["retain"].mean_nll, hparams.gamma, hparams.alpha)


@dataclass
class PreferenceHyperParams(WeightedHyperParams):
    """``beta``: how sharply one answer is preferred to another."""

    beta: Positive = 0.1


class IDKAP(Baseline):
    name = "IDK+AP"
    HyperParams = PreferenceHyperParams
    parts = ("refusal", "retain", "retain_refusal")

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        kept = answer_preservation(batch["retain"].logprob, batch["retain_refusal"].logprob, hparams.beta)
        return preference(batch["refusal"].mean_nll, kept, hparams.gamma, hparams.alpha)


class DPO(Baseline):
    name = "DPO"
    HyperParams = PreferenceHyperParams
    parts = ("forget", "refusal", "retain")
    remembers = (("forget", "logprob"), ("refusal", "logprob"))

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        refusal, answer = batch["refusal"], batch["forget"]
        chosen = dpo(refusal.logprob, refusal.frozen, answer.logprob, answer.frozen, hparams.beta)
        return hparams.gamma * chosen + hparams.alpha * batch["retain"].mean_nll
