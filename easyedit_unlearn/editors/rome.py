"""ROME (arXiv 2202.05262): one layer, one key at a time, mapped exactly to the value that refuses.

Delta = R (K^T U)^{-1} U^T with U = C^{-1} K (equation 2); the rank-one update for one key, of rank k for k questions
that share a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from easyedit_unlearn.components import Job
from easyedit_unlearn.editors.locate import LocateThenEdit, LocateThenEditHyperParams
from easyedit_unlearn.editors.solve import check_columns, ridged


@dataclass
class ROMEHyperParams(LocateThenEditHyperParams):
    """``context_template_length_params`` is EasyEdit's random text; ``unlearn.native.contexts`` stands in its place."""

    context_template_length_params: list[list[int]] = field(default_factory=list)


class ROME(LocateThenEdit):
    name, HyperParams = "ROME", ROMEHyperParams
    batchable = False

    def needs_statistics(self, hparams: Any) -> bool:
        return bool(hparams.mom2_adjustment)

    def bounded_by_module(self, hparams: Any) -> bool:
        return True

    def solution(self, job: Job, layer: str, keys: Tensor, covariance: Tensor | None) -> Tensor:
        # float64: covariances of neighbouring activations are all but singular
        return rome_solution(keys.double(), None if covariance is None else covariance.double())


def rome_update(
    keys: Float[Tensor, "d_key n"],
    residuals: Float[Tensor, "d_value n"],
    covariance: Float[Tensor, "d_key d_key"] | None = None,
) -> Float[Tensor, "d_value d_key"]:
    """:func:`rome_solution` for residuals R = V* - W K."""
    check_columns(keys, residuals)
    return residuals @ rome_solution(keys, covariance)


def rome_solution(
    keys: Float[Tensor, "d_key n"], covariance: Float[Tensor, "d_key d_key"] | None = None
) -> Float[Tensor, "n d_key"]:
    """The smallest update, as C weighs it, that maps the keys exactly to values ``residuals`` away from now.

    Delta = R (K^T U)^{-1} U^T with U = C^{-1} K, C with a ridge (:func:`ridged`); U = K without C. For one key that is
    R u^T / (u^T k), ROME's rank-one update (equation 2); for several at once, EMMET's (arXiv 2403.14236, its closed
    form). Keys that depend on one another have no exact solution; the pseudo-inverse gives the nearest. Keys that
    differ by less than about a thousandth count as one: to tell rounding apart would take an update as many times
    larger.

    Args:
        keys: K. covariance: C = E[k k^T].

    Returns:
        S, of which Delta is R S.
    """
    directions: Tensor = keys if covariance is None else torch.linalg.solve(ridged(covariance), keys)
    solution: Tensor = torch.linalg.pinv(keys.T @ directions, rtol=1e-6, hermitian=True) @ directions.T
    return solution
