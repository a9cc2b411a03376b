"""GRACE (arXiv 2211.11031): a codebook beside one layer; a key's value answers for every input within its radius.

A radius is at most eps, and shrinks until balls of different values do not meet (section 3.2, "split") and none reaches
an input that must be left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from easyedit_unlearn.components import Job
from easyedit_unlearn.config.fields import Count, NonNegative, Positive
from easyedit_unlearn.editors.memory import MemoryEditor, MemoryHyperParams, NewEdits, joined, not_edited_anew
from easyedit_unlearn.editors.values import ValueSettings
from easyedit_unlearn.model.memories import EXACT, Adapter, Codebook


@dataclass
class GraceHyperParams(MemoryHyperParams):
    """EasyEdit's keys; of these our own engine reads ``n_iter``, ``edit_lr`` and ``eps``, the largest radius. Its
    codebook starts values warm, measures Euclidean distance and replaces the token that a key matches, whatever the
    others say."""

    eps: Positive = 1.0
    dist_fn: Literal["euc", "mmd", "cos"] = "euc"
    val_init: Literal["cold", "warm"] = "warm"
    val_train: Literal["sgd", "pert", "adv"] = "sgd"
    val_reg: str | None = None
    reg: str = "early_stop"
    replacement: Literal["replace_last", "replace_all", "replace_prompt"] = "replace_last"
    eps_expand: str = "coverage"
    num_pert: Count = 8
    dropout: NonNegative = 0.0


class GRACE(MemoryEditor):
    name, HyperParams = "GRACE", GraceHyperParams

    def value_settings(self, hparams: Any) -> ValueSettings:
        # no clamp: a value answers only within its ball
        products = hparams.unlearn.native.products
        return ValueSettings(hparams.n_iter, hparams.edit_lr, 0.0, float("inf"), products=products)

    def remember(self, job: Job, layer: str, found: NewEdits, outside: Tensor, standing: Adapter | None) -> Adapter:
        eps = float(job.hparams.eps)
        limits = torch.full((found.keys.shape[1],), eps, device=found.keys.device)
        if isinstance(standing, Codebook):
            old = standing.basis or _read_back(standing)
            stay = not_edited_anew(old, found)
            # an old ball never grows: its own retain set may have been another
            limits = torch.cat([standing.tensors["radii"].to(limits)[stay.to(limits.device)], limits])
            found = joined(old.only(stay), found)
        keys, values = found.keys.T, (found.outputs + found.changes).T
        radii = torch.minimum(deferral_radii(keys, found.labels, eps, outside), limits)
        codebook = Codebook(keys=keys, values=values, radii=radii)
        codebook.basis = found
        return codebook


SHY = 0.9
"""A radius stays this much below the distance it must not reach."""


def deferral_radii(
    keys: Float[Tensor, "n d_key"], labels: Sequence[str], limit: float, outside: Float[Tensor, "m d_key"] | None = None
) -> Float[Tensor, " n"]:
    """The radius of each key's ball: ``limit``, or less where another answer is near (section 3.2, "split").

    Balls of keys with different labels do not meet, and no ball reaches an input that must be left alone.

    Args:
        labels: what each key's value makes the model say. outside: inputs that must be left alone.
    """
    radii = torch.full((len(keys),), float(limit), dtype=keys.dtype, device=keys.device)
    names = sorted(set(labels))
    which = torch.tensor([names.index(label) for label in labels], device=keys.device)
    distances = torch.cdist(keys, keys, compute_mode=EXACT).masked_fill(which[:, None] == which[None, :], float("inf"))
    radii = torch.minimum(radii, SHY * distances.min(1).values / 2)
    if outside is not None and len(outside):
        radii = torch.minimum(radii, SHY * torch.cdist(keys, outside.to(keys), compute_mode=EXACT).min(1).values)
    return radii


def _read_back(codebook: Codebook) -> NewEdits:
    """A loaded codebook does not record what its values make the model say: something other than any new one."""
    keys, values = codebook.tensors["keys"].T, codebook.tensors["values"].T
    labels = ["\x00loaded"] * keys.shape[1]
    return NewEdits(keys, values, torch.zeros_like(values), labels, len(labels))
