"""Did an edit do what it promised: the realised change along delta, over delta, at the lookup."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from easyedit_unlearn.components import Job
from easyedit_unlearn.errors import AttainmentError

LEAST = 0.9
"""An edit that attains less is taken back."""
ENOUGH = 0.995
"""One that attains less is solved on for what is missing."""


def attained(realised: Float[Tensor, "d n"], promised: Float[Tensor, "d n"]) -> Float[Tensor, " n"]:
    """For every column <realised, promised> / |promised|^2: 1 where the whole change came about, 0 where none of it
    did; 1 where none was promised."""
    size = promised.square().sum(0)
    along = (realised * promised).sum(0)
    return torch.where(size > 0, along / size.clamp(min=1e-30), torch.ones_like(size))


def record(job: Job, shares: Float[Tensor, " n"], prompts: list[str]) -> None:
    """Keep the smallest in the job's state.

    Raises:
        AttainmentError: it is below 0.9, or no number; the caller takes the edit back.
    """
    least = float(shares.min()) if len(shares) else 1.0
    if not least >= LEAST:
        worst = prompts[int(shares.nan_to_num(-1e9).argmin())]
        few = int((~(shares >= LEAST)).sum())
        raise AttainmentError(
            f"{job.hparams.alg_name} attains {least:.0%} of the change that refuses, where at least {LEAST:.0%} must "
            f"be ({few} of {len(shares)} lookups fall short; the worst: {_end(worst)!r}). The edit was taken back. "
            "Another layer, a longer subject, or one value for questions that look alike (merger shared_value) may help"
        )
    job.state["attainment"] = min(least, job.state.get("attainment", least))


def _end(prompt: str) -> str:
    return prompt if len(prompt) <= 120 else f"...{prompt[-120:]}"
