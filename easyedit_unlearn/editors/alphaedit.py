"""AlphaEdit (arXiv 2410.02355): MEMIT's objective in the null space of the keys that must not be disturbed.

Delta = R K^T P (K_p K_p^T P + K K^T P + lambda I)^{-1} (equation 14), P projecting on the directions of least variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from easyedit_unlearn.components import Job
from easyedit_unlearn.config.fields import NonNegative, Positive
from easyedit_unlearn.editors.locate import LocateThenEdit
from easyedit_unlearn.editors.memit import MEMITHyperParams
from easyedit_unlearn.editors.solve import check_columns
from easyedit_unlearn.editors.statistics import cached_null_space


@dataclass
class AlphaEditHyperParams(MEMITHyperParams):
    """``L2``: lambda. ``P_loc`` is EasyEdit's file of projections, which the native engine never needs."""

    nullspace_threshold: Positive = 2e-2
    L2: NonNegative = 1.0
    P_loc: str = ""


class AlphaEdit(LocateThenEdit):
    name, HyperParams = "AlphaEdit", AlphaEditHyperParams

    def solve(self, job: Job, layer: str, keys: Tensor, residuals: Tensor, covariance: Tensor | None) -> Tensor:
        """Remembers the keys in the job's state: later edits must keep them."""
        assert covariance is not None  # noqa: S101  needs_statistics
        dimensions = job.hparams.unlearn.native.null_space_dimensions
        threshold = None if dimensions else job.hparams.nullspace_threshold
        projection = cached_null_space(covariance, threshold=threshold, dimensions=dimensions)
        previous = job.state.get(layer)
        update = alphaedit_update(keys, residuals, projection, job.hparams.L2, previous)
        gram = keys @ keys.T
        job.state[layer] = gram if previous is None else previous + gram
        return update


def alphaedit_update(
    keys: Float[Tensor, "d_key n"],
    residuals: Float[Tensor, "d_value n"],
    projection: Float[Tensor, "d_key d_key"],
    ridge: float,
    previous: Float[Tensor, "d_key d_key"] | None = None,
) -> Float[Tensor, "d_value d_key"]:
    """MEMIT's objective restricted to the null space of what must not change: Delta (I - P) = 0.

    Args:
        keys: K. residuals: R. projection: P, symmetric. ridge: lambda, the weight of the L2 term.
        previous: K_p K_p^T of earlier edits.
    """
    check_columns(keys, residuals)
    gram = keys @ keys.T if previous is None else keys @ keys.T + previous
    identity = torch.eye(len(projection), dtype=projection.dtype, device=projection.device)
    solution: Tensor = torch.linalg.solve(projection @ gram + ridge * identity, projection @ keys @ residuals.T)
    return solution.T
