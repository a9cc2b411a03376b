"""WISE's side memory (arXiv 2405.14768): W' for one layer, and how active it must be to answer in place of W.

Pure functions of matrices. The edit loss is taken where it acts: W' must put out, for the keys of what is edited, the
values that make the model refuse (found as ROME and MEMIT find them). That leaves a least-squares problem with a closed
form, from which the paper's margin loss is then minimised without running the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from easyedit_unlearn.editors.solve import ridged
from easyedit_unlearn.errors import DivergenceError


@dataclass(frozen=True)
class MarginSettings:
    """EasyEdit's keys n_iter, edit_lr, norm_constraint, and act_margin's alpha, beta and gamma."""

    steps: int
    learning_rate: float
    norm_constraint: float
    alpha: float
    beta: float
    gamma: float


def random_mask(shape: Sequence[int], ratio: float, generator: torch.Generator) -> Tensor:
    """Which weights one shard may change: each with probability ``ratio`` (section 2.3.2)."""
    return torch.rand(*shape, generator=generator) < ratio


def masked_least_squares(keys: Tensor, values: Tensor, covariance: Tensor, mask: Tensor, weight: float) -> Tensor:
    """The change D of W, zero outside the mask, with least |D K - V|^2 + weight tr(D C D^T).

    Args:
        keys: (d_key, n), K. values: (d_value, n), V. covariance: (d_key, d_key), C, of inputs to be left alone.
        mask: (d_value, d_key), booleans.

    Returns:
        (d_value, d_key).
    """
    normal = ridged(weight * covariance + keys @ keys.T)
    aims = values @ keys.T
    if bool(mask.all()):
        whole: Tensor = torch.linalg.solve(normal, aims.T)
        return whole.T
    change = torch.zeros_like(aims)
    for row, chosen in enumerate(mask):
        own = chosen.nonzero()[:, 0]
        if len(own):
            change[row, own] = torch.linalg.solve(normal[own][:, own], aims[row, own])
    return change


def margin_loss(inside: Tensor, outside: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Activity of edited inputs above beta, of others below alpha, and gamma between them (equation 6).

    Each hinge is the mean over the tokens that violate it, so that many easy tokens do not drown a few hard ones.

    Args:
        inside, outside: (tokens,) activities |a (W' - W)|.
    """

    def hinge(excess: Tensor) -> Tensor:
        violated = excess > 0
        return (excess * violated).sum() / violated.sum().clamp(min=1)

    return (
        hinge(outside - alpha) + hinge(beta - inside) + hinge(gamma - (inside - (outside.max() if len(outside) else 0)))
    )


def sharpen(
    change: Tensor,
    mask: Tensor,
    keys: Tensor,
    values: Tensor,
    outside: Tensor,
    settings: MarginSettings,
    advance: Callable[[int], None],
) -> Tensor:
    """Minimise the margin loss and the edit loss from ``change`` on, inside the mask and the norm constraint.

    Args:
        keys, values: as for :func:`masked_least_squares`. outside: (tokens, d_key), inputs to be left alone.

    Raises:
        DivergenceError: the loss is not finite.
    """
    scale = values.norm(dim=0).mean()
    change = change.clamp(-settings.norm_constraint, settings.norm_constraint).requires_grad_()
    optimiser = torch.optim.Adam([change], lr=settings.learning_rate)
    for _ in range(settings.steps):
        with torch.enable_grad():
            put_out = change @ keys
            edit = (put_out - values).norm(dim=0).mean()  # in the units of activity, like the margins
            inside, others = put_out.norm(dim=0), (outside @ change.T).norm(dim=-1)
            loss = edit + margin_loss(inside, others, settings.alpha, settings.beta, settings.gamma)
        if not torch.isfinite(loss):
            raise DivergenceError("WISE's loss is not finite; lower edit_lr. The model is as it was")
        change.grad = torch.autograd.grad(loss / scale, change)[0] * mask
        optimiser.step()
        with torch.no_grad():
            change.clamp_(-settings.norm_constraint, settings.norm_constraint)
        advance(1)
    return change.detach()


def threshold(change: Tensor, keys: Tensor, outside: Tensor, ratio: float) -> float:
    """:func:`between` the least activity of what is edited and the greatest of what is not."""
    inside = float((change @ keys).norm(dim=0).min())
    return between(inside, float((outside @ change.T).norm(dim=-1).max()) if len(outside) else 0.0, ratio)


def between(inside: float, others: float, ratio: float) -> float:
    """``ratio`` of the least activity of what is edited, more where others reach higher, but never more than that."""
    return min(max(ratio * inside, 1.01 * others), 0.99 * inside)
