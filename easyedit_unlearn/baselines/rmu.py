"""RMU, representation misdirection for unlearning (WMDP, arXiv 2403.03218)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.losses import misdirection_terms
from easyedit_unlearn.baselines.settings import WeightedHyperParams
from easyedit_unlearn.config.fields import Positive
from easyedit_unlearn.model.structure import layer_name, mlp_output


@dataclass
class RMUHyperParams(WeightedHyperParams):
    """``layer``: whose outputs are moved; its MLP's output weights and those of the two layers before it are trained.
    ``steering_coeff``: c, how far."""

    layer: Annotated[int, Field(ge=0)] = 7
    steering_coeff: Positive = 2.0


class RMU(Baseline):
    name = "RMU"
    HyperParams = RMUHyperParams
    parts = ("forget", "retain")
    remembers = (("retain", "hidden"),)

    def watches(self, model: Any, hparams: Any) -> str:
        return layer_name(model, hparams.layer)

    def trains(self, model: Any, hparams: Any) -> Iterable[str]:
        """The MLP output weights of layers l-2 to l, as the authors train them."""
        chosen = range(max(hparams.layer - 2, 0), hparams.layer + 1)
        return [f"{mlp_output(model, layer_name(model, number))}.weight" for number in chosen]

    def start(self, hparams: Any) -> Callable[[Mapping[Any, Any]], Any]:
        """u is drawn once: entries from [0, 1), then made a unit vector."""
        drawn: dict[int, Any] = {}

        def loss(batch: Mapping[Any, Any]) -> Any:
            width = batch["forget"].watched.shape[1]
            if width not in drawn:
                u = torch.rand(width, generator=torch.Generator().manual_seed(hparams.unlearn.seed))
                drawn[width] = hparams.steering_coeff * u / u.norm()
            return self._loss(batch, drawn[width], hparams)

        return loss

    def _loss(self, batch: Mapping[Any, Any], direction: Any, hparams: Any) -> Any:
        forget, retain = batch["forget"], batch["retain"]
        moved = forget.mean(misdirection_terms(forget.watched, direction.to(forget.watched)))
        kept = retain.mean(misdirection_terms(retain.watched, retain.frozen))
        return hparams.gamma * moved + hparams.alpha * kept
