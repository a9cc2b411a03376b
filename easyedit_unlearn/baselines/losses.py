"""Unlearning losses: pure functions of tensors, each with its equation and paper."""

from __future__ import annotations

import torch


def mean_nll(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """NLL(B) = mean_i S_i / |y_i|: per item first, then over items, so that long answers do not outweigh short ones.

    Args:
        total: (batch,) S_i, the sum of answer-token cross-entropies in nats.
        count: (batch,) |y_i|, the number of answer tokens; an item without any counts as 0.

    Returns:
        A scalar in nats per token.
    """
    if total.shape != count.shape:
        raise ValueError(f"total {tuple(total.shape)} and count {tuple(count.shape)} must have one shape")
    return (total / count.clamp(min=1)).mean()


def preference(refusal_nll: torch.Tensor, retain_nll: torch.Tensor, gamma: float, alpha: float) -> torch.Tensor:
    """Preference optimisation: L = gamma NLL(F_idk) + alpha NLL(R) (TOFU, arXiv 2401.06121, section 4.1).

    Args:
        refusal_nll, retain_nll: scalars, as from :func:`mean_nll`, of the forget set's refusals and the retain set.
        gamma, alpha: their weights.
    """
    return gamma * refusal_nll + alpha * retain_nll


def graddiff(forget_nll: torch.Tensor, retain_nll: torch.Tensor, gamma: float, alpha: float) -> torch.Tensor:
    """Gradient difference: L = -gamma NLL(F) + alpha NLL(R) (TOFU, arXiv 2401.06121, section 4.1, "Gradient
    Difference"; first as "GradDiff" in arXiv 2203.12817).

    Args:
        forget_nll, retain_nll: scalars, as from :func:`mean_nll`.
        gamma, alpha: weights of ascent on the forget set and of descent on the retain set.
    """
    return -gamma * forget_nll + alpha * retain_nll
