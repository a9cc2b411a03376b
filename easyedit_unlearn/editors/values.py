"""v*: what a layer must put out at the lookup position so that the model says the target (ROME, arXiv 2202.05262, 3.1).

Edits are optimised in batches, independent of one another. What lies before the edited token, in layers or in text, is
computed once, and the vocabulary only over the targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from easyedit_unlearn.components import Progress
from easyedit_unlearn.editors.lookup import Lookup
from easyedit_unlearn.editors.resume import Resumed, Whole, frozen, way_to_run, width_of
from easyedit_unlearn.errors import DivergenceError
from easyedit_unlearn.model.device import Products, device_of, products
from easyedit_unlearn.model.hooks import evaluating, watched
from easyedit_unlearn.model.inference import answer_logits, answer_nll, batches, inferring, pad_pairs

GOOD_ENOUGH = 0.05
"""Nats per target token: an edit below it is done (EasyEdit's own bound)."""
ROWS = 16
"""Contexts optimised together."""


@dataclass(frozen=True)
class ValueSettings:
    """EasyEdit's keys v_num_grad_steps, v_lr, v_weight_decay, clamp_norm_factor and kl_factor; and in which precision
    the frozen layers multiply.

    As in EasyEdit, the last of ``steps`` only looks: there is one update less.
    """

    steps: int
    learning_rate: float
    weight_decay: float
    clamp: float
    kl_factor: float = 0.0
    products: Products = "auto"


def optimise_values(
    model: PreTrainedModel,
    layers: Sequence[str],
    module: str,
    edits: Sequence[Sequence[Lookup]],
    settings: ValueSettings,
    *,
    pad_id: int,
    progress: Progress,
    essence: Sequence[Lookup] = (),
    norm_of: tuple[str, float] | None = None,
    owners: Sequence[int] | None = None,
) -> Float[Tensor, "d_value queries"]:
    """What must be added to the module's output at the lookup for every query, each over all its contexts: delta.

    Minimises the mean NLL of the target, plus weight_decay |delta| / n^2, plus kl_factor times the KL divergence at the
    subject in "{subject} is a" from what it was (ROME, equation 4), over delta with |delta| <= clamp n, where n is the
    norm of the module's output. Queries of one owner share one delta, found for all of them together: the means above
    are over all their contexts, and n over them. An edit is done when its own loss is below 0.05 nats a token, so its
    value does not depend on what else is edited in the same call.

    Args:
        layers: names of all decoder layers up to and with the one that holds the module, in order.
        edits: for each query its contexts.
        essence: for each query its "{subject} is a", without a target; may be empty when kl_factor is 0.
        norm_of: take n from this module's output instead, times a factor (MEMIT's n is the decoder layer's).
        owners: for each query the edit it belongs to; by default every query is one of its own.

    Returns:
        delta, in float32; the same for the queries of one owner.

    Raises:
        DivergenceError: the loss is not finite. The model is unchanged in every case.
    """
    if settings.kl_factor and len(essence) != len(edits):
        raise ValueError(f"kl_factor needs one essence a query, got {len(essence)} for {len(edits)}")
    groups = list(_groups(edits, owners or range(len(edits))))
    advance = progress("optimising refusal values", settings.steps * len(groups))
    source, factor = norm_of or (module, 1.0)
    found = []
    with evaluating(model), frozen(model):
        width = width_of(model, module, edits[0][0], pad_id)
        for units in groups:
            chosen = [i for unit in units for i in unit]
            kept = [distinct([essence[i] for i in unit]) if settings.kl_factor else [] for unit in units]
            norms = factor * _norms(model, source, [edits[i][0] for i in chosen], pad_id)
            batch = _Batch([[edits[i] for i in unit] for unit in units], kept, norms.device)
            rows = [*batch.rows, *batch.kept]
            way = way_to_run(model, layers, module, rows, pad_id, at_edit=bool(batch.kept))
            with products(model, settings.products):
                run = way(model, layers, module, rows, pad_id)
                found.append(_optimise(run, batch, batch.mean(norms, batch.of_queries), width, settings, advance))
    values = torch.cat(found)
    return values[torch.argsort(torch.tensor([i for units in groups for unit in units for i in unit]))].T


def distinct(lookups: Sequence[Lookup]) -> list[Lookup]:
    """Each once: questions about one subject have one "{subject} is a"."""
    return list({(tuple(one.prompt), one.position): one for one in lookups}.values())


def target_losses(model: PreTrainedModel, edits: Sequence[Sequence[Lookup]], pad: int) -> Float[Tensor, " queries"]:
    """For each query the mean NLL of its target in nats per token, over its contexts, of the model as it is."""
    rows = [(number, lookup) for number, contexts in enumerate(edits) for lookup in contexts]
    sums, counts = torch.zeros(len(edits)), torch.zeros(len(edits))
    with inferring(model):
        for chosen in batches([len(one.prompt) + len(one.target) for _, one in rows], ROWS):
            pairs = [(rows[i][1].prompt, rows[i][1].target) for i in chosen]
            ids, labels, mask = (part.to(device_of(model)) for part in pad_pairs(pairs, pad))
            total, count = answer_nll(*answer_logits(model, ids, labels, mask))
            owner = torch.tensor([rows[i][0] for i in chosen])
            sums.index_add_(0, owner, (total / count.clamp(min=1)).cpu().float())
            counts.index_add_(0, owner, torch.ones(len(chosen)))
    return sums / counts


class _Batch:
    """Some edits, each of queries with all their contexts, and which edit each row and query belongs to; what is
    ``kept`` of each ("... is a") comes after them."""

    def __init__(
        self, edits: Sequence[Sequence[Sequence[Lookup]]], kept: Sequence[Sequence[Lookup]], device: Any
    ) -> None:
        queries = [query for edit in edits for query in edit]
        self.rows = [lookup for query in queries for lookup in query]
        self.edits, self.kept = len(edits), [lookup for own in kept for lookup in own]
        self.of_kept = torch.tensor([n for n, own in enumerate(kept) for _ in own], dtype=torch.long, device=device)
        self.of_queries = torch.tensor([n for n, edit in enumerate(edits) for _ in edit], device=device)
        self.of_rows = torch.tensor([n for n, edit in enumerate(edits) for query in edit for _ in query], device=device)

    def mean(self, scores: Float[Tensor, " n"], owner: Int[Tensor, " n"]) -> Float[Tensor, " edits"]:
        """Over what belongs to each edit; 0 where nothing does."""
        sums = scores.new_zeros(self.edits).index_add(0, owner, scores)
        return sums / owner.bincount(minlength=self.edits).clamp(min=1)


class _Left:
    """Of a batch, the edits that are not done: what is still to be run for them."""

    def __init__(self, run: Whole | Resumed, batch: _Batch, left: Bool[Tensor, " edits"]) -> None:
        self._batch = batch
        self.texts, self.kept = left[batch.of_rows], left[batch.of_kept]
        self.of_texts, self.of_kept = batch.of_rows[self.texts], batch.of_kept[self.kept]
        everything = torch.cat([self.texts, self.kept])
        self.owner = torch.cat([self.of_texts, self.of_kept])
        self._run = run if bool(left.all()) else run.only(everything.nonzero()[:, 0].cpu())

    def losses(
        self, delta: Float[Tensor, "edits d_value"], settings: ValueSettings, before: Tensor | None
    ) -> tuple[Float[Tensor, " edits"], Float[Tensor, "kept vocabulary"] | None]:
        """NLL plus KL of each edit, means over what is its own; and the log-probabilities at "... is a"."""
        batch, texts = self._batch, len(self.of_texts)
        logits, labels, at_edit = self._run.logits(delta[self.owner], at_edit=bool(batch.kept))
        total, count = answer_nll(logits[:texts], labels[:texts])
        loss = batch.mean(total / count.clamp(min=1), self.of_texts)
        if at_edit is None:
            return loss, None
        now = at_edit[texts:].float().log_softmax(-1)
        first = now.detach() if before is None else before[self.kept]
        kl = (now.exp() * (now - first)).sum(-1)
        return loss + settings.kl_factor * batch.mean(kl, self.of_kept), now.detach()


def _optimise(
    run: Whole | Resumed,
    batch: _Batch,
    norms: Float[Tensor, " edits"],
    width: int,
    settings: ValueSettings,
    advance: Callable[[int], None],
) -> Float[Tensor, "queries d_value"]:
    """delta of one batch."""
    delta = norms.new_zeros(batch.edits, width).requires_grad_()
    optimiser = torch.optim.Adam([delta], lr=settings.learning_rate)
    before: Tensor | None = None
    done = torch.zeros(batch.edits, dtype=torch.bool, device=delta.device)
    left = _Left(run, batch, ~done)
    for step in range(settings.steps):
        with torch.enable_grad():
            loss, now = left.losses(delta, settings, before)
            before = now if before is None else before
            loss = loss + settings.weight_decay * delta.norm(dim=1) / norms**2
            whole = loss[~done].sum()  # the edits are independent: each delta sees its own loss alone
        if not torch.isfinite(whole):
            raise DivergenceError("the value optimisation is not finite; lower v_lr. The model is as it was")
        good = ~done & (loss.detach() < GOOD_ENOUGH)
        done |= good
        if step == settings.steps - 1 or bool(done.all()):
            advance(settings.steps - step)
            break
        advance(1)
        kept = delta.detach().clone()
        delta.grad = torch.autograd.grad(whole, delta)[0]
        optimiser.step()
        with torch.no_grad():
            delta *= (settings.clamp * norms / delta.norm(dim=1).clamp(min=1e-12)).clamp(max=1)[:, None]
            delta.copy_(torch.where(done[:, None], kept, delta))
        left = _Left(run, batch, ~done) if bool(good.any()) else left
    return delta.detach()[batch.of_queries]


def _groups(edits: Sequence[Sequence[Lookup]], owners: Sequence[int]) -> Iterator[list[list[int]]]:
    """The queries' numbers by edit, edits of like length together, so many that their contexts fill a batch. Memory
    does not grow with the set, but with the queries that share a value: these stay together."""
    units: dict[int, list[int]] = {}
    for number, owner in enumerate(owners):
        units.setdefault(owner, []).append(number)

    def length(unit: list[int]) -> int:
        return max(len(row.prompt) + len(row.target) for i in unit for row in edits[i])

    group: list[list[int]] = []
    rows = 0
    for unit in sorted(units.values(), key=length, reverse=True):
        size = sum(len(edits[i]) for i in unit)
        if group and rows + size > ROWS:
            yield group
            group, rows = [], 0
        group.append(unit)
        rows += size
    if group:
        yield group


def _norms(model: PreTrainedModel, name: str, rows: Sequence[Lookup], pad_id: int) -> Tensor:
    """Of the module's output at the edited token, (rows,)."""
    seen: list[Tensor] = []
    ids, _, mask = (t.to(device_of(model)) for t in pad_pairs([(row.prompt, []) for row in rows], pad_id))
    with watched(model, [name], lambda _name, _given, output: seen.append(output)) as forward:
        forward(input_ids=ids, attention_mask=mask)
    norms: Tensor = seen[0][torch.arange(len(rows)), [row.position for row in rows]].float().norm(dim=1)
    return norms
