"""Task vectors (arXiv 2212.04089): learn the forget set by heart, then go as far the other way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.hparams import BaselineHyperParams, Positive
from easyedit_unlearn.components import Stage


@dataclass
class TaskVectorHyperParams(BaselineHyperParams):
    """``scale``: c in theta - c (theta_F - theta)."""

    scale: Positive = 1.0


class TaskVector(Baseline):
    name = "TaskVector"
    summary = "Minus what fine-tuning on the forget set adds to the weights (arXiv 2212.04089)."
    HyperParams = TaskVectorHyperParams
    parts = ("forget",)

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        """NLL(F): towards what is to be forgotten."""
        return batch["forget"].mean_nll

    def apply(
        self,
        model: Any,
        tokenizer: Any,
        requests: Sequence[Mapping[str, Any]],
        hparams: Any,
        *,
        retain: Sequence[tuple[str, str]],
        stage: Stage,
    ) -> None:
        """theta - c (theta_F - theta), theta_F being fine-tuned on the forget set (arXiv 2212.04089, section 3)."""
        import torch

        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        super().apply(model, tokenizer, requests, hparams, retain=retain, stage=stage)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                moved = parameter.float() - before[name].float()  # zero where fine-tuning changed nothing
                parameter.copy_(before[name] - hparams.scale * moved)
