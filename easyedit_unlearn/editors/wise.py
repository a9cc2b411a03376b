"""WISE (arXiv 2405.14768): a side memory W' beside one layer, which answers in place of W where it is active enough.

The edit loss is taken where it acts: W' must put out, for the keys of what is edited, the values that make the model
refuse (found as ROME and MEMIT find them). That leaves a least-squares problem with a closed form, from which the
paper's margin loss (equation 6) is then minimised without running the model.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from easyedit_unlearn.components import Job
from easyedit_unlearn.config.fields import Count, NonNegative, Positive
from easyedit_unlearn.editors.attain import ENOUGH, attained
from easyedit_unlearn.editors.inputs import corpus_inputs
from easyedit_unlearn.editors.margins import MarginSettings, sharpen, threshold
from easyedit_unlearn.editors.memory import MemoryEditor, MemoryHyperParams, NewEdits, joined, not_edited_anew
from easyedit_unlearn.editors.solve import ridged
from easyedit_unlearn.errors import AttainmentError, ConfigError, UnlearnWarning
from easyedit_unlearn.model.hooks import key_value_weight, module_named
from easyedit_unlearn.model.memories import Adapter, SideMemory
from easyedit_unlearn.model.structure import edited_layer
from easyedit_unlearn.model.weights import check_writable


@dataclass
class WISEHyperParams(MemoryHyperParams):
    """``alpha``, ``beta``, ``gamma`` are the file's ``act_margin``. ``merge_*``, ``densities``, ``weights``, ``replay``
    and ``objective_optimization`` are EasyEdit's: our own engine keeps its shards apart and retrieves among them."""

    mask_ratio: Annotated[float, Field(gt=0, le=1)] = 0.2
    alpha: NonNegative = 5.0
    beta: NonNegative = 20.0
    gamma: NonNegative = 10.0
    act_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.88
    norm_constraint: Positive = 1.0
    save_freq: Count | None = 500
    merge_freq: Count = 1000
    merge_alg: str = "ties"
    objective_optimization: str = "only_label"
    densities: float | None = 0.53
    weights: float | None = 1.0
    retrieve: Literal[True] = True
    replay: bool = False
    use_chat_template: bool = False
    save_path: str | None = None
    load_path: str | None = None


_HUNDREDTH, _FURTHER, _ROUNDS, _LOUDEST = 0.01, 12, 5, 512
_MOST = 1 / 3
"""Of each kind of what must be left alone, the share where it may answer and the edit still stand."""


class WISE(MemoryEditor):
    """Retrieves among shards of ``save_freq`` edits. ``edit_lr`` is in hundredths of the layer's mean |W| a step, so
    that EasyEdit's own 1.0 fits every model."""

    name, HyperParams = "WISE", WISEHyperParams

    def check(self, model: Any, hparams: Any) -> None:
        """Its steps are in units of the layer's weights, so it must be able to read them."""
        super().check(model, hparams)
        check_writable(model, [f"{edited_layer(hparams.inner_params)}.weight"])

    def normalise(self, config: dict[str, Any]) -> dict[str, Any]:
        return named_margins(super().normalise(config))

    def remember(self, job: Job, layer: str, found: NewEdits, outside: Tensor, standing: Adapter | None) -> Adapter:
        hparams, weight = job.hparams, key_value_weight(module_named(job.model, layer))
        changes, limits = ([], []) if standing is None else (list(standing.tensors[f]) for f in SideMemory.fields)
        if standing is not None and standing.basis is not None and standing.basis.edits < (hparams.save_freq or 1e9):
            # the last shard is still open: it is solved anew for all it holds
            found = joined(standing.basis.only(not_edited_anew(standing.basis, found)), found)
            changes, limits = changes[:-1], limits[:-1]
        draw = torch.Generator().manual_seed(hparams.unlearn.seed)
        masks = [random_mask(weight.shape, hparams.mask_ratio, draw) for _ in range(len(changes) + 1)]
        mask = masks[-1].to(weight.device)  # one a shard, the same ones for the same seed
        change, limit = self._shard(job, layer, found, outside, mask, float(weight.detach().abs().mean()))
        memory = SideMemory(changes=torch.stack([*changes, change.cpu()]), thresholds=torch.stack([*limits, limit]))
        memory.basis = found
        return memory

    def _shard(
        self, job: Job, layer: str, found: NewEdits, outside: Tensor, mask: Tensor, scale: float
    ) -> tuple[Tensor, Tensor]:
        """The change W' - W of the open shard, and its threshold."""
        hparams = job.hparams
        text = corpus_inputs(job.model, job.tokenizer, layer, hparams)
        if not len(text) and not len(outside):
            raise ConfigError("WISE needs a retain set, or text: unlearn.native.corpus", key="unlearn.retain")
        covariance = _second_moment(text) + hparams.unlearn.native.retain_weight * _second_moment(outside)
        others = torch.cat([outside, text])
        solve = _quiet_elsewhere(found, others, covariance, mask, hparams.act_ratio)
        change = solve(found.changes.double()).float()
        settings = MarginSettings(
            hparams.n_iter, hparams.edit_lr * _HUNDREDTH * scale, hparams.norm_constraint, hparams.alpha, hparams.beta,
            hparams.gamma,
        )  # fmt: skip
        advance = job.progress("training the side memory", settings.steps)
        change = sharpen(change, mask, found.keys, found.changes, others, settings, advance)
        change = _completed(change, found, solve)
        limit = threshold(change, found.keys, outside, hparams.act_ratio)
        _check_quiet(change, {"the retain prompts": outside, "plain text": text}, limit)
        return change, torch.tensor(limit)


def _quiet_elsewhere(
    found: NewEdits, others: Tensor, covariance: Tensor, mask: Tensor, ratio: float
) -> Callable[[Tensor], Tensor]:
    """The least squares, in which those of the others that would still be as active as what is edited count more and
    more, for as long as what is edited still comes about: a few tokens (the first of a text above all) have keys a
    hundred times as large as all others' and are lost in a mean."""
    keys, moment = found.keys.double(), covariance.double()
    solve = masked_least_squares(keys, ridged(moment + keys @ keys.T), mask)
    for number in range(_ROUNDS):
        change = _completed(solve(found.changes.double()), found, solve)
        limit = ratio * (change @ keys).norm(dim=0).min()
        loud = others[(others.double() @ change.T).norm(dim=-1) > limit].double()
        if not len(loud):
            break
        loud = loud[loud.norm(dim=1).argsort(descending=True)[:_LOUDEST]]
        moment = moment + 10**number * loud.T @ loud / loud.square().sum(1).mean() * keys.square().sum(0).mean()
        stricter = masked_least_squares(keys, ridged(moment + keys @ keys.T), mask)
        kept = _completed(stricter(found.changes.double()), found, stricter) @ keys
        if bool((attained(kept, found.changes.double()) < ENOUGH).any()):
            break
        solve = stricter
    return solve


def _completed(change: Tensor, found: NewEdits, solve: Callable[[Tensor], Tensor]) -> Tensor:
    """``change``, and what the ridge, the margins and the others moved it off what was found, solved for again."""
    keys, changes = found.keys.to(change), found.changes.to(change)
    for _ in range(_FURTHER):
        missing = changes - change @ keys
        if not bool((attained(changes - missing, changes) - 1).abs().gt(1 - ENOUGH).any()):
            break
        change = change + solve(missing.double()).to(change)
    return change


def _check_quiet(change: Tensor, others: Mapping[str, Tensor], limit: float) -> None:
    """Warn where the memory would answer for tokens that it must leave alone: no threshold lies between.

    Raises:
        AttainmentError: so it would for more than a third of a kind of them: it answers everywhere.
    """
    for kind, inputs in others.items():
        loud = int(((inputs @ change.T).norm(dim=-1) > limit).sum()) if len(inputs) else 0
        found = (
            f"WISE's side memory is active for {loud} of the {len(inputs)} tokens of {kind}, which it must leave alone"
        )
        if loud > _MOST * len(inputs):
            raise AttainmentError(
                f"{found}: it would answer everywhere. The edit was taken back. One value for questions that look "
                "alike (merger shared_value), another layer, or more retain data may help"
            )
        if loud:
            warnings.warn(
                f"{found}, and will answer there: choose another layer, or more retain data", UnlearnWarning,
                stacklevel=2,
            )  # fmt: skip


def named_margins(config: dict[str, Any]) -> dict[str, Any]:
    """EasyEdit's files hold ``act_margin: [alpha, beta, gamma]``; its class takes the three by name."""
    margin = config.get("act_margin")
    if not (isinstance(margin, list) and len(margin) == 3):
        return config
    rest = {key: value for key, value in config.items() if key != "act_margin"}
    return rest | dict(zip(("alpha", "beta", "gamma"), margin, strict=True))


def _second_moment(inputs: Tensor) -> Tensor:
    return inputs.T @ inputs / max(len(inputs), 1)


def random_mask(shape: Sequence[int], ratio: float, generator: torch.Generator) -> Tensor:
    """Which weights one shard may change: each with probability ``ratio`` (section 2.3.2)."""
    return torch.rand(*shape, generator=generator) < ratio


def masked_least_squares(
    keys: Float[Tensor, "d_key n"], normal: Float[Tensor, "d_key d_key"], mask: Bool[Tensor, "d_value d_key"]
) -> Callable[[Float[Tensor, "d_value n"]], Float[Tensor, "d_value d_key"]]:
    """From values V the change D of W, zero outside the mask, with least |D K - V|^2 + tr(D C D^T).

    Args:
        keys: K. normal: C + K K^T, with C the second moment of inputs to be left alone, and a ridge.
    """
    if bool(mask.all()):
        solution = torch.linalg.solve(normal, keys).T
        return lambda values: values @ solution

    def by_rows(values: Tensor) -> Tensor:
        aims = values @ keys.T
        change = torch.zeros_like(aims)
        for row, chosen in enumerate(mask):
            own = chosen.nonzero()[:, 0]
            if len(own):
                change[row, own] = torch.linalg.solve(normal[own][:, own], aims[row, own])
        return change

    return by_rows
