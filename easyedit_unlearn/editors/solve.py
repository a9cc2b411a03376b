"""What the closed forms share. Everything is computed in the precision of its inputs: give float32 or float64."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

RIDGE = 1e-6
"""Of a matrix's mean diagonal, what is added to its diagonal before it is inverted: second moments of few texts have a
rank below their dimension, and rounding gives them negative eigenvalues."""


def ridged(matrix: Float[Tensor, "d d"], share: float = RIDGE) -> Float[Tensor, "d d"]:
    """``matrix``, with ``share`` of its mean diagonal added to every entry of the diagonal."""
    return matrix + share * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)


def check_columns(keys: Tensor, residuals: Tensor) -> None:
    """Raise ValueError unless both are matrices with a column a fact."""
    if keys.ndim != 2 or residuals.ndim != 2 or keys.shape[1] != residuals.shape[1]:
        shapes = [tuple(keys.shape), tuple(residuals.shape)]
        raise ValueError(f"keys and residuals must have one column each a fact, got {shapes}")
