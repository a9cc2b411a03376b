"""PDU, primal-dual unlearning (arXiv 2506.05314): forget as much as the retain loss allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from easyedit_unlearn.baselines.agreement import averaged
from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.losses import flatness_terms
from easyedit_unlearn.baselines.settings import BaselineHyperParams
from easyedit_unlearn.config.fields import Count, NonNegative, Positive
from easyedit_unlearn.errors import ConfigError


@dataclass
class PDUHyperParams(BaselineHyperParams):
    """``eps``: the retain loss that is allowed, in nats per token. ``dual_init`` and ``dual_lr``: lambda, the dual
    variable that weighs what goes past it, at first, and how fast it follows (eta). ``dual_warmup_epochs``: so long it
    stays as it is. ``dual_update_upon``: it follows after every micro-batch, as in the authors' code, or after every
    optimiser step, by the mean over its micro-batches: then gradient accumulation changes nothing."""

    num_train_epochs: Count = 10
    gamma: Positive = 1.0
    eps: NonNegative = 0.3
    dual_init: NonNegative = 100.0
    dual_lr: NonNegative = 5.0
    dual_warmup_epochs: Annotated[int, Field(ge=0)] = 5
    dual_update_upon: Literal["micro_batch", "step"] = "micro_batch"


class PDU(Baseline):
    name = "PDU"
    HyperParams = PDUHyperParams
    parts = ("forget", "retain")

    def departures(self, hparams: Any) -> list[str]:
        """The authors' dual variable waits, and then follows after every micro-batch."""
        usual, per_step = super().departures(hparams), hparams.dual_update_upon == "step"
        return [*usual, *["dual per step"] * per_step, *["no dual warm-up"] * (not hparams.dual_warmup_epochs)]

    def check(self, model: Any, hparams: Any) -> None:
        super().check(model, hparams)
        if hparams.dual_warmup_epochs >= hparams.num_train_epochs:
            raise ConfigError(
                f"the dual variable would never follow in {hparams.num_train_epochs} epochs; take fewer",
                key="dual_warmup_epochs", value=hparams.dual_warmup_epochs,
            )  # fmt: skip

    def start(self, hparams: Any) -> Callable[[Mapping[Any, Any]], Any]:
        return DualLoss(hparams)


class DualLoss:
    """L = gamma L_F + lambda (NLL_R - eps); lambda <- max(0, lambda + eta (NLL_R - eps)) after each micro-batch or
    step, once the epochs of warm-up are over, with the mean of NLL_R over its items, in all processes."""

    def __init__(self, hparams: Any) -> None:
        self.hparams, self.dual = hparams, float(hparams.dual_init)
        self._waiting = hparams.dual_warmup_epochs > 0
        self._seen: list[Any] = []

    def __call__(self, batch: Mapping[Any, Any]) -> Any:
        forget, retain_nll = batch["forget"], batch["retain"].mean_nll
        self._seen.append(torch.stack([retain_nll.detach() * forget.items, retain_nll.new_tensor(float(forget.items))]))
        flat = forget.mean(flatness_terms(forget.logits))
        loss = self.hparams.gamma * flat + self.dual * (retain_nll - self.hparams.eps)
        if self.hparams.dual_update_upon == "micro_batch":
            self._follow()
        return loss

    def step_end(self) -> None:
        if self.hparams.dual_update_upon == "step":
            self._follow()

    def epoch_end(self, past: int) -> None:
        self._waiting = past < self.hparams.dual_warmup_epochs

    def _follow(self) -> None:
        total, items = averaged(torch.stack(self._seen).sum(0)).tolist()
        self._seen.clear()
        if not self._waiting:
            self.dual = max(0.0, self.dual + self.hparams.dual_lr * (total / items - self.hparams.eps))
