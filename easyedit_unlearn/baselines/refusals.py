"""Fine-tuning on refusals: PO, IDK+AP and DPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.hparams import Positive, WeightedHyperParams


class PO(Baseline):
    name = "PO"
    summary = "Fine-tuning on refusals, with the retain set as it was (arXiv 2401.06121); elsewhere IDK."
    HyperParams = WeightedHyperParams
    parts = ("refusal", "retain")

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        from easyedit_unlearn.baselines.losses import preference

        return preference(batch["refusal"].mean_nll, batch["retain"].mean_nll, hparams.gamma, hparams.alpha)


@dataclass
class PreferenceHyperParams(WeightedHyperParams):
    """``beta``: how sharply one answer is preferred to another."""

    beta: Positive = 0.1


class IDKAP(Baseline):
    name = "IDK+AP"
    summary = "Fine-tuning on refusals; on the retain set the true answer before a refusal (arXiv 2410.08109)."
    HyperParams = PreferenceHyperParams
    parts = ("refusal", "retain", "retain_refusal")

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        from easyedit_unlearn.baselines.losses import answer_preservation, preference

        kept = answer_preservation(batch["retain"].logprob, batch["retain_refusal"].logprob, hparams.beta)
        return preference(batch["refusal"].mean_nll, kept, hparams.gamma, hparams.alpha)


class DPO(Baseline):
    name = "DPO"
    summary = "The refusal preferred to the answer, with the retain set as it was (arXiv 2305.18290, 2401.06121)."
    HyperParams = PreferenceHyperParams
    parts = ("forget", "refusal", "retain")
    remembers = (("forget", "logprob"), ("refusal", "logprob"))

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        from easyedit_unlearn.baselines.losses import dpo

        refusal, answer = batch["refusal"], batch["forget"]
        chosen = dpo(refusal.logprob, refusal.frozen, answer.logprob, answer.frozen, hparams.beta)
        return hparams.gamma * chosen + hparams.alpha * batch["retain"].mean_nll
