"""The closed forms of the locate-then-edit methods: pure functions of matrices.

A linear layer W (d_value, d_key) is read as a memory that maps keys to values. Each function returns the update to add
to W. Everything is computed in the precision of its inputs: give float32 or float64, never half precision.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rome_update(key: Tensor, residual: Tensor, covariance: Tensor | None = None) -> Tensor:
    """ROME: the rank-one update that maps ``key`` exactly to a value ``residual`` away from now.

    Delta = residual u^T / (u^T key) with u = C^{-1} key (arXiv 2202.05262, equation 2); u = key without C.

    Args:
        key: (d_key,). residual: (d_value,), v* - W key. covariance: (d_key, d_key), C = E[k k^T].

    Returns:
        (d_value, d_key).
    """
    _check(key.ndim == 1 and residual.ndim == 1, "key and residual must be vectors", key, residual)
    direction: Tensor = key if covariance is None else torch.linalg.solve(covariance, key)
    return torch.outer(residual, direction) / (direction @ key)


def memit_update(keys: Tensor, residuals: Tensor, covariance: Tensor, weight: float) -> Tensor:
    """MEMIT: least squares over the new keys and, ``weight`` times, over what the layer already maps.

    Delta = R K^T (lambda C + K K^T)^{-1} (arXiv 2210.07229, equation 14).

    Args:
        keys: (d_key, n), K. residuals: (d_value, n), R. covariance: (d_key, d_key), C = E[k k^T]. weight: lambda.

    Returns:
        (d_value, d_key).
    """
    _check(keys.shape[1] == residuals.shape[1], "keys and residuals must have one column each a fact", keys, residuals)
    solution: Tensor = torch.linalg.solve(weight * covariance + keys @ keys.T, keys @ residuals.T)
    return solution.T


def alphaedit_update(
    keys: Tensor, residuals: Tensor, projection: Tensor, ridge: float, previous: Tensor | None = None
) -> Tensor:
    """AlphaEdit: MEMIT's objective restricted to the null space of what must not change.

    Delta = R K^T P (K_p K_p^T P + K K^T P + ridge I)^{-1} (arXiv 2410.02355, equation 14).

    Args:
        keys: (d_key, n), K. residuals: (d_value, n), R. projection: (d_key, d_key), P, symmetric.
        ridge: the weight of the L2 term. previous: (d_key, d_key), K_p K_p^T of earlier edits.

    Returns:
        (d_value, d_key), with Delta (I - P) = 0.
    """
    _check(keys.shape[1] == residuals.shape[1], "keys and residuals must have one column each a fact", keys, residuals)
    gram = keys @ keys.T if previous is None else keys @ keys.T + previous
    identity = torch.eye(len(projection), dtype=projection.dtype, device=projection.device)
    solution: Tensor = torch.linalg.solve(projection @ gram + ridge * identity, projection @ keys @ residuals.T)
    return solution.T


def null_space(covariance: Tensor, *, threshold: float | None = None, dimensions: int | None = None) -> Tensor:
    """P = U0 U0^T over the eigenvectors of least variance (AlphaEdit, arXiv 2410.02355, section 3.2).

    Args:
        covariance: (d, d), symmetric. threshold: keep eigenvalues below it; or dimensions: keep that many.

    Returns:
        (d, d), an orthogonal projection.
    """
    if (threshold is None) == (dimensions is None):
        raise ValueError("give either threshold or dimensions")
    values, vectors = torch.linalg.eigh(covariance)  # in ascending order
    count = int((values < threshold).sum()) if dimensions is None else min(dimensions, len(values))
    basis: Tensor = vectors[:, :count]
    return basis @ basis.T


def _check(holds: bool, what: str, *tensors: Tensor) -> None:
    if not holds:
        raise ValueError(f"{what}, got {[tuple(tensor.shape) for tensor in tensors]}")
