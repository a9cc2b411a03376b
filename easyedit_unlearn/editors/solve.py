"""The closed forms of the locate-then-edit methods: pure functions of matrices.

A linear layer W (d_value, d_key) is read as a memory that maps keys to values. Each function returns the update to add
to W. Everything is computed in the precision of its inputs: give float32 or float64, never half precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-6
"""Of a matrix's mean diagonal, what is added to its diagonal before it is inverted: second moments of few texts have a
rank below their dimension, and rounding gives them negative eigenvalues."""


def ridged(matrix: Tensor, share: float = RIDGE) -> Tensor:
    """``matrix`` (d, d), with ``share`` of its mean diagonal added to every entry of the diagonal."""
    return matrix + share * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)


def rome_update(keys: Tensor, residuals: Tensor, covariance: Tensor | None = None) -> Tensor:
    """ROME: the smallest update, as C weighs it, that maps the keys exactly to values ``residuals`` away from now.

    Delta = R (K^T U)^{-1} U^T with U = C^{-1} K, C with a ridge (:func:`ridged`); U = K without C. For one key that is
    R u^T / (u^T k), ROME's rank-one update (arXiv 2202.05262, equation 2); for several at once, EMMET's (arXiv
    2403.14236, its closed form). Keys that depend on one another have no exact solution; the pseudo-inverse gives the
    nearest. Keys that differ by less than about a thousandth count as one: to tell rounding apart would take an update
    as many times larger.

    Args:
        keys: (d_key, n), K. residuals: (d_value, n), R = V* - W K. covariance: (d_key, d_key), C = E[k k^T].

    Returns:
        (d_value, d_key).
    """
    _check(
        keys.ndim == 2 and residuals.ndim == 2 and keys.shape[1] == residuals.shape[1],
        "keys and residuals must have one column each a fact", keys, residuals,
    )  # fmt: skip
    directions: Tensor = keys if covariance is None else torch.linalg.solve(ridged(covariance), keys)
    update: Tensor = residuals @ torch.linalg.pinv(keys.T @ directions, rtol=1e-6, hermitian=True) @ directions.T
    return update


def memit_update(keys: Tensor, residuals: Tensor, covariance: Tensor, weight: float) -> Tensor:
    """MEMIT: least squares over the new keys and, ``weight`` times, over what the layer already maps.

    Delta = R K^T (lambda C + K K^T)^{-1} (arXiv 2210.07229, equation 14), C with a ridge (:func:`ridged`).

    Args:
        keys: (d_key, n), K. residuals: (d_value, n), R. covariance: (d_key, d_key), C = E[k k^T]. weight: lambda.

    Returns:
        (d_value, d_key).
    """
    _check(keys.shape[1] == residuals.shape[1], "keys and residuals must have one column each a fact", keys, residuals)
    solution: Tensor = torch.linalg.solve(weight * ridged(covariance) + keys @ keys.T, keys @ residuals.T)
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


def redirection(moved: Tensor, kept: Tensor, ridge: float = RIDGE) -> Tensor:
    """LUNAR: the direction u for which W + r u^T moves what is given for ``moved`` by r and all else by little.

    The minimiser of sum_i |D k_i - r|^2 + tr(D M D^T) is D = r u^T with u = (M + K K^T)^{-1} K 1: LUNAR's squared
    error (arXiv 2502.07218, section 4) in closed form. It is scaled so that u^T k_i is 1 on the mean.

    Args:
        moved: (d_key, n), K. kept: (d_key, d_key), M, the sum of k k^T over keys that are to stay.
        ridge: on the diagonal, relative to its mean, so that few keys in many dimensions have a solution.

    Returns:
        (d_key,).
    """
    _check(moved.ndim == 2 and len(moved) == len(kept) and moved.shape[1] > 0, "no keys to move", moved, kept)
    gram = ridged(kept + moved @ moved.T, ridge)
    direction: Tensor = torch.linalg.solve(gram, moved.sum(1))
    return direction / (moved.T @ direction).mean()


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
