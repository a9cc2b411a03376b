"""An edit as a PEFT adapter: exact where the change of every weight has low rank, as locate-then-edit methods' has."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.model.hooks import key_value_weight, module_named
from easyedit_unlearn.model.lowrank import LowRank, linear_modules, save_lora
from easyedit_unlearn.model.memory_files import require_mergeable
from easyedit_unlearn.storage import new_directory

TOLERANCE = 1e-4
"""By how much a logit may differ, in float32."""
LEFT_OUT = (1e-4, 1e-5, 1e-6)
"""Of a change's norm, what its low-rank form may leave out as the rounding of solvers and weights: the first that keeps
the logits is taken."""


def low_rank_change(base: PreTrainedModel, edited: PreTrainedModel, left_out: float = LEFT_OUT[0]) -> LowRank:
    """The change of every linear module's weight, W' - W = B A, at the lowest rank that leaves out no more of it than
    the share ``left_out`` of its norm.

    Raises:
        UnlearnError: something acts beside the weights, something else than a linear module's weight changed, or a
            change is not of low rank; says what to export instead.
    """
    require_mergeable(edited)
    old, new = dict(base.named_parameters()), dict(edited.named_parameters())
    changed = [name for name in new if name not in old or not torch.equal(old[name], new[name])]
    if not changed:
        raise UnlearnError("the two models are the same: there is no edit to export")
    linear = set(linear_modules(edited, new))
    others = [name for name in changed if name.removesuffix(".weight") not in linear]
    if others:
        raise UnlearnError(f"LoRA adds to linear modules' weights, and {others[0]} changed too; export --as delta")
    modules = [name.removesuffix(".weight") for name in changed]
    return LowRank({name: _factors(base, edited, name, left_out) for name in modules})


def export_lora(
    base: PreTrainedModel, edited: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, out: Path
) -> tuple[int, float]:
    """Write the adapter, load it in PEFT on the base model, and compare all logits on ``text``.

    Returns:
        The highest rank, and the largest difference of a logit in float32.

    Raises:
        UnlearnError: as :func:`low_rank_change`; PEFT is missing; or the logits differ by more than ``TOLERANCE``, and
            nothing is written then.
    """
    for left_out in LEFT_OUT:
        change = low_rank_change(base, edited, left_out)
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch) / "adapter"
            save_lora(change, made, base=str(base.name_or_path))
            difference = _largest_difference(base, edited, tokenizer, text, made)
            if difference <= TOLERANCE:
                with new_directory(out) as filling:
                    shutil.copytree(made, filling, dirs_exist_ok=True)
                return max(len(a) for a, _ in change.factors.values()), difference
    raise UnlearnError(f"the adapter's logits differ by {difference:.1e}, more than {TOLERANCE}; export --as delta")


def _factors(base: PreTrainedModel, edited: PreTrainedModel, name: str, left_out: float) -> tuple[Tensor, Tensor]:
    """A (rank, d_in) and B (d_out, rank)."""
    first, second = (key_value_weight(module_named(model, name)).detach() for model in (base, edited))
    before, after = first.double(), second.double()
    left, values, right = torch.linalg.svd(after - before, full_matrices=False)
    rest = values.square().flip(0).cumsum(0).flip(0).sqrt()  # what each rank leaves out
    rank = max(1, int((rest > left_out * rest[0]).sum()))
    if rank * (before.shape[0] + before.shape[1]) >= before.numel():
        raise UnlearnError(f"the change of {name} has rank {rank} and is no smaller as LoRA; export --as delta")
    root = values[:rank].sqrt()
    return (root[:, None] * right[:rank]).float(), (left[:, :rank] * root).float()


def _largest_difference(base: Any, edited: Any, tokenizer: Any, text: str, adapter: Path) -> float:
    from peft import PeftModel

    ids = torch.tensor([tokenizer(text).input_ids[:512]], device=edited.device)
    with torch.inference_mode():
        wanted = edited.float()(input_ids=ids).logits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT asks transformers by old names, and notes transposed layers
        wrapped = PeftModel.from_pretrained(base.float(), str(adapter))
    try:
        with torch.inference_mode():
            return float((wrapped(input_ids=ids).logits - wanted).abs().max())
    finally:
        wrapped.unload()
