"""v*: what a layer must put out at the lookup position so that the model says the target (ROME, arXiv 2202.05262, 3.1).

All edits are optimised in one batch. What lies before the edited token, in layers or in text, is computed once, and the
vocabulary only over the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from easyedit_unlearn.components import Stage
from easyedit_unlearn.editors.lookup import Lookup
from easyedit_unlearn.editors.modules import evaluating
from easyedit_unlearn.editors.resume import resumed
from easyedit_unlearn.errors import DivergenceError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GOOD_ENOUGH = 0.05
"""Nats per target token: an edit below it is done (EasyEdit's own bound)."""


@dataclass(frozen=True)
class ValueSettings:
    """EasyEdit's keys v_num_grad_steps, v_lr, v_weight_decay and clamp_norm_factor."""

    steps: int
    learning_rate: float
    weight_decay: float
    clamp: float


def optimise_values(
    model: PreTrainedModel,
    layers: Sequence[str],
    edits: Sequence[Sequence[Lookup]],
    settings: ValueSettings,
    *,
    pad_id: int,
    stage: Stage,
) -> Tensor:
    """Target outputs z of the last of ``layers`` for every edit, each over all its contexts.

    Minimises mean NLL of the target plus weight_decay |delta| / |z0|^2 over delta with |delta| <= clamp |z0|, where z0
    is the output now, in the edit's first context.

    Args:
        layers: names of all decoder layers up to and with the one whose output is optimised, in order.
        edits: for each edit its contexts.

    Returns:
        (d_model, edits) in float32: z0 + delta.

    Raises:
        DivergenceError: the loss is not finite. The model is unchanged in every case.
    """
    rows = [(number, lookup) for number, contexts in enumerate(edits) for lookup in contexts]
    owner = torch.tensor([number for number, _ in rows], device=model.device)
    share = torch.tensor([1 / len(edits[number]) for number, _ in rows], device=model.device)
    advance = stage("optimising refusal values", settings.steps)
    with evaluating(model), resumed(model, layers, [lookup for _, lookup in rows], pad_id) as resume:
        start = resume.base[:, 0]
        first = torch.tensor([int((owner == number).nonzero()[0]) for number in range(len(edits))], device=model.device)
        initial = start[first].float()
        norms = initial.norm(dim=1, keepdim=True)
        delta = torch.zeros_like(initial, requires_grad=True)
        optimiser = torch.optim.Adam([delta], lr=settings.learning_rate)
        for _ in range(settings.steps):
            with torch.enable_grad():
                edited = start + delta[owner].to(start.dtype)
                resume.hidden = torch.cat([edited[:, None], resume.base[:, 1:]], dim=1)
                total, count = resume.nll()
                nll = torch.zeros(len(edits), device=model.device).index_add(
                    0, owner, share * total / count.clamp(min=1)
                )
                loss = nll + settings.weight_decay * delta.norm(dim=1) / norms[:, 0] ** 2
                whole = loss.sum()  # the edits are independent: each delta sees its own loss alone
            if not torch.isfinite(loss).all():
                raise DivergenceError("the value optimisation is not finite; lower v_lr. The model is as it was")
            advance(1)
            if bool((loss < GOOD_ENOUGH).all()):
                break
            delta.grad = torch.autograd.grad(whole, delta)[0]
            optimiser.step()
            with torch.no_grad():
                delta *= (settings.clamp * norms / delta.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    return (initial + delta.detach()).T
