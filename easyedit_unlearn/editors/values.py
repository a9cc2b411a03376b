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
from easyedit_unlearn.editors.modules import evaluating, watched
from easyedit_unlearn.editors.resume import resumed
from easyedit_unlearn.errors import DivergenceError
from easyedit_unlearn.evaluation.inference import answer_nll, pad_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GOOD_ENOUGH = 0.05
"""Nats per target token: an edit below it is done (EasyEdit's own bound)."""


@dataclass(frozen=True)
class ValueSettings:
    """EasyEdit's keys v_num_grad_steps, v_lr, v_weight_decay, clamp_norm_factor and kl_factor.

    As in EasyEdit, the last of ``steps`` only looks: there is one update less.
    """

    steps: int
    learning_rate: float
    weight_decay: float
    clamp: float
    kl_factor: float = 0.0


def optimise_values(
    model: PreTrainedModel,
    layers: Sequence[str],
    edits: Sequence[Sequence[Lookup]],
    settings: ValueSettings,
    *,
    pad_id: int,
    stage: Stage,
    essence: Sequence[Lookup] = (),
    norm_of: str | None = None,
) -> Tensor:
    """Target outputs z of the last of ``layers`` for every edit, each over all its contexts.

    Minimises the mean NLL of the target, plus weight_decay |delta| / n^2, plus kl_factor times the KL divergence at the
    subject in "{subject} is a" from what it was (ROME, equation 4), over delta with |delta| <= clamp n. z0 is the
    output now, in the edit's first context, and n its norm.

    Args:
        layers: names of all decoder layers up to and with the one whose output is optimised, in order.
        edits: for each edit its contexts.
        essence: for each edit its "{subject} is a", without a target; may be empty when kl_factor is 0.
        norm_of: take n from this module's output (ROME's is the MLP's) and not from the layer's.

    Returns:
        (d_model, edits) in float32: z0 + delta.

    Raises:
        DivergenceError: the loss is not finite. The model is unchanged in every case.
    """
    kept = list(essence) if settings.kl_factor else []
    rows = [lookup for contexts in edits for lookup in contexts]
    device, texts = model.device, len(rows)
    owner = torch.tensor([n for n, contexts in enumerate(edits) for _ in contexts] + list(range(len(kept))), device=device)
    share = torch.tensor([1 / len(contexts) for contexts in edits for _ in contexts], device=device)
    first = torch.tensor([[n for n, o in enumerate(owner.tolist()) if o == edit][0] for edit in range(len(edits))])
    advance = stage("optimising refusal values", settings.steps)
    with evaluating(model):
        norms = _norms(model, norm_of or layers[-1], [rows[i] for i in first], pad_id)
        with resumed(model, layers, [*rows, *kept], pad_id) as resume:
            start = resume.base[:, 0]
            delta = torch.zeros_like(start[first.to(device)], dtype=torch.float32, requires_grad=True)
            optimiser = torch.optim.Adam([delta], lr=settings.learning_rate)
            before: Tensor | None = None
            for step in range(settings.steps):
                with torch.enable_grad():
                    edited = start + delta[owner].to(start.dtype)
                    resume.hidden = torch.cat([edited[:, None], resume.base[:, 1:]], dim=1)
                    logits, labels = resume.logits(edited=bool(kept))
                    total, count = answer_nll(logits[:texts], labels[:texts])
                    nll = total.new_zeros(len(edits)).index_add(0, owner[:texts], share * total / count.clamp(min=1))
                    loss = nll + settings.weight_decay * delta.norm(dim=1) / norms**2
                    if kept:
                        now = logits[texts:, 0].float().log_softmax(-1)
                        before = now.detach() if before is None else before
                        loss = loss + settings.kl_factor * (now.exp() * (now - before)).sum(-1)
                    whole = loss.sum()  # the edits are independent: each delta sees its own loss alone
                if not torch.isfinite(loss).all():
                    raise DivergenceError("the value optimisation is not finite; lower v_lr. The model is as it was")
                advance(1)
                if step == settings.steps - 1 or bool((loss < GOOD_ENOUGH).all()):
                    break
                delta.grad = torch.autograd.grad(whole, delta)[0]
                optimiser.step()
                with torch.no_grad():
                    delta *= (settings.clamp * norms / delta.norm(dim=1).clamp(min=1e-12)).clamp(max=1)[:, None]
            return (start[first.to(device)].float() + delta.detach()).T


def _norms(model: PreTrainedModel, name: str, rows: Sequence[Lookup], pad_id: int) -> Tensor:
    """Of the module's output at the edited token, (rows,)."""
    seen: list[Tensor] = []
    ids, _, mask = (t.to(model.device) for t in pad_pairs([(row.prompt, []) for row in rows], pad_id))
    with watched(model, [name], lambda _name, _given, output: seen.append(output.float())) as forward:
        forward(input_ids=ids, attention_mask=mask)
    norms: Tensor = seen[0][torch.arange(len(rows)), [row.position for row in rows]].norm(dim=1)
    return norms
