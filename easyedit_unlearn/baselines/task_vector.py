"""Task vectors (arXiv 2212.04089): learn the forget set by heart, then go as far the other way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.settings import BaselineHyperParams
from easyedit_unlearn.config.fields import Positive


@dataclass
class TaskVectorHyperParams(BaselineHyperParams):
    """``scale``: c in theta - c (theta_F - theta)."""

    scale: Positive = 1.0


class TaskVector(Baseline):
    name = "TaskVector"
    HyperParams = TaskVectorHyperParams
    parts = ("forget",)

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        """NLL(F): towards what is to be forgotten."""
        return batch["forget"].mean_nll

    def taken(self, hparams: Any) -> float:
        """theta - c (theta_F - theta), theta_F being fine-tuned on the forget set (arXiv 2212.04089, section 3)."""
        return -float(hparams.scale)
