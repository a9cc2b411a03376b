"""GRACE's codebook (arXiv 2211.11031): how far around each key its value answers. Pure functions of matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SHY = 0.9
"""A radius stays this much below the distance it must not reach."""
EXACT = "donot_use_mm_for_euclid_dist"
"""Distances that do not depend on how many are computed at once."""


def deferral_radii(keys: Tensor, labels: Sequence[str], limit: float, outside: Tensor | None = None) -> Tensor:
    """The radius of each key's ball: ``limit``, or less where another answer is near (section 3.2, "split").

    Balls of keys with different labels do not meet, and no ball reaches an input that must be left alone.

    Args:
        keys: (n, d_key). labels: (n,), what each key's value makes the model say. outside: (m, d_key).

    Returns:
        (n,).
    """
    radii = torch.full((len(keys),), float(limit), dtype=keys.dtype, device=keys.device)
    names = sorted(set(labels))
    which = torch.tensor([names.index(label) for label in labels], device=keys.device)
    distances = torch.cdist(keys, keys, compute_mode=EXACT).masked_fill(which[:, None] == which[None, :], float("inf"))
    radii = torch.minimum(radii, SHY * distances.min(1).values / 2)
    if outside is not None and len(outside):
        radii = torch.minimum(radii, SHY * torch.cdist(keys, outside.to(keys), compute_mode=EXACT).min(1).values)
    return radii
