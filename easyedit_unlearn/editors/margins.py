"""WISE's margin loss (arXiv 2405.14768, equation 6), and the threshold that lies in the margin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from easyedit_unlearn.errors import DivergenceError
from easyedit_unlearn.model.memories import threshold_between


@dataclass(frozen=True)
class MarginSettings:
    """EasyEdit's keys n_iter, edit_lr, norm_constraint, and act_margin's alpha, beta and gamma."""

    steps: int
    learning_rate: float
    norm_constraint: float
    alpha: float
    beta: float
    gamma: float


def margin_loss(
    inside: Float[Tensor, " tokens"], outside: Float[Tensor, " others"], alpha: float, beta: float, gamma: float
) -> Float[Tensor, ""]:
    """Activity of edited inputs above beta, of others below alpha, and gamma between them (equation 6).

    Each hinge is the mean over the tokens that violate it, so that many easy tokens do not drown a few hard ones.

    Args:
        inside, outside: activities |a (W' - W)|.
    """

    def hinge(excess: Tensor) -> Tensor:
        violated = excess > 0
        return (excess * violated).sum() / violated.sum().clamp(min=1)

    return (
        hinge(outside - alpha) + hinge(beta - inside) + hinge(gamma - (inside - (outside.max() if len(outside) else 0)))
    )


def sharpen(
    change: Float[Tensor, "d_value d_key"],
    mask: Bool[Tensor, "d_value d_key"],
    keys: Float[Tensor, "d_key n"],
    values: Float[Tensor, "d_value n"],
    outside: Float[Tensor, "tokens d_key"],
    settings: MarginSettings,
    advance: Callable[[int], None],
) -> Float[Tensor, "d_value d_key"]:
    """Minimise the margin loss and the edit loss from ``change`` on, inside the mask and the norm constraint.

    Args:
        keys, values: as for :func:`masked_least_squares`. outside: inputs to be left alone.

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
    """:func:`threshold_between` the least activity of what is edited and the greatest of what is not."""
    inside = float((change @ keys).norm(dim=0).min())
    return threshold_between(inside, float((outside @ change.T).norm(dim=-1).max()) if len(outside) else 0.0, ratio)
