"""MEMIT (arXiv 2210.07229): many keys at once, spread over layers, by least squares against what they map already.

Delta = R K^T (lambda C + K K^T)^{-1} (equation 14).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from easyedit_unlearn.components import Job
from easyedit_unlearn.config.fields import Count, Positive
from easyedit_unlearn.editors.locate import LocateThenEdit, LocateThenEditHyperParams
from easyedit_unlearn.editors.solve import check_columns, ridged


@dataclass
class MEMITHyperParams(LocateThenEditHyperParams):
    """``mom2_update_weight``: lambda."""

    batch_size: Count = 1
    layer_selection: Literal["all", "random"] = "all"
    mom2_update_weight: Positive = 15000


class MEMIT(LocateThenEdit):
    name, HyperParams = "MEMIT", MEMITHyperParams

    def solution(self, job: Job, layer: str, keys: Tensor, covariance: Tensor | None) -> Tensor:
        assert covariance is not None  # noqa: S101  needs_statistics
        return memit_solution(keys.double(), covariance.double(), job.hparams.mom2_update_weight)


def memit_update(
    keys: Float[Tensor, "d_key n"],
    residuals: Float[Tensor, "d_value n"],
    covariance: Float[Tensor, "d_key d_key"],
    weight: float,
) -> Float[Tensor, "d_value d_key"]:
    """Least squares over the new keys and, ``weight`` times, over what the layer already maps.

    Args:
        keys: K. residuals: R. covariance: C = E[k k^T], to which a ridge is added. weight: lambda.
    """
    check_columns(keys, residuals)
    return residuals @ memit_solution(keys, covariance, weight)


def memit_solution(
    keys: Float[Tensor, "d_key n"], covariance: Float[Tensor, "d_key d_key"], weight: float
) -> Float[Tensor, "n d_key"]:
    """S = K^T (lambda C + K K^T)^{-1}, of which Delta is R S."""
    solution: Tensor = torch.linalg.solve(weight * ridged(covariance) + keys @ keys.T, keys)
    return solution.T
