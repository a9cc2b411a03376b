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
from easyedit_unlearn.editors.statistics import cached_null_space, prompt_keys


@dataclass
class AlphaEditHyperParams(MEMITHyperParams):
    """``L2``: lambda. ``P_loc`` is EasyEdit's file of projections, which the native engine never needs."""

    nullspace_threshold: Positive = 2e-2
    L2: NonNegative = 1.0
    P_loc: str = ""


class AlphaEdit(LocateThenEdit):
    name, HyperParams = "AlphaEdit", AlphaEditHyperParams

    def solution(self, job: Job, layer: str, keys: Tensor, covariance: Tensor | None) -> Tensor:
        assert covariance is not None  # noqa: S101  needs_statistics
        projection = self._projection(job, layer, covariance)
        kept = [part.to(keys) for part in (job.state.get(layer), self._held(job).get(layer)) if part is not None]
        previous = torch.cat(kept, dim=1) if kept else None
        return alphaedit_solution(keys, projection, job.hparams.L2, previous)

    def _projection(self, job: Job, layer: str, covariance: Tensor) -> Tensor:
        """Of a sequence, and of all passes of an edit, one."""
        known: dict[str, Tensor] = job.state.setdefault("projections", {})
        if layer not in known:
            dimensions = job.hparams.unlearn.native.null_space_dimensions
            threshold = None if dimensions else job.hparams.nullspace_threshold
            known[layer] = cached_null_space(covariance, threshold=threshold, dimensions=dimensions)
        return known[layer]

    def _held(self, job: Job) -> dict[str, Tensor]:
        """By layer, keys of the retain prompts, of the model before the first edit of a sequence."""
        weight = job.hparams.unlearn.native.hold_retain
        if not weight or not job.retain:
            return {}
        if "held" not in job.state:
            names = [job.hparams.rewrite_module_tmp.format(layer) for layer in sorted(job.hparams.layers)]
            found = prompt_keys(job.model, job.tokenizer, names, [prompt for prompt, _ in job.retain])
            job.state["held"] = {name: weight**0.5 * keys for name, keys in found.items()}
        held: dict[str, Tensor] = job.state["held"]
        return held

    def remember(self, job: Job, layer: str, keys: Tensor) -> None:
        """Later edits must keep what these map to."""
        known = job.state.get(layer)
        job.state[layer] = keys if known is None else torch.cat([known, keys], dim=1)


def alphaedit_update(
    keys: Float[Tensor, "d_key n"],
    residuals: Float[Tensor, "d_value n"],
    projection: Float[Tensor, "d_key d_key"],
    ridge: float,
    previous: Float[Tensor, "d_key m"] | None = None,
) -> Float[Tensor, "d_value d_key"]:
    """MEMIT's objective restricted to the null space of what must not change: Delta (I - P) = 0.

    Args:
        keys: K. residuals: R. projection: P, symmetric. ridge: lambda, the weight of the L2 term.
        previous: K_p, keys of earlier edits.
    """
    check_columns(keys, residuals)
    return residuals @ alphaedit_solution(keys, projection, ridge, previous)


def alphaedit_solution(
    keys: Float[Tensor, "d_key n"],
    projection: Float[Tensor, "d_key d_key"],
    ridge: float,
    previous: Float[Tensor, "d_key m"] | None = None,
) -> Float[Tensor, "n d_key"]:
    """S, of which Delta is R S: with Z = P [K K_p], the first n rows of (Z^T Z + lambda I)^{-1} Z^T, which is equation
    14 with as many unknowns as keys in place of d_key."""
    inside = projection @ (keys if previous is None else torch.cat([keys, previous], dim=1))
    gram = inside.T @ inside + ridge * torch.eye(inside.shape[1], dtype=keys.dtype, device=keys.device)
    solution: Tensor = torch.linalg.solve(gram, inside.T)
    return solution[: keys.shape[1]]
