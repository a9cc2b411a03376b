"""What undoes an edit from the model alone: the direction of refusing taken out of what it thinks, or the leading
directions out of the weights that look edited. Everything here leaves the model bitwise as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.errors import ConfigError
from easyedit_unlearn.evaluation.depth import Ask, undone
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.hooks import changing, key_value_weight, watched
from easyedit_unlearn.model.inference import inferring, pad_id, pad_pairs
from easyedit_unlearn.model.structure import layer_names, mlp_output
from easyedit_unlearn.model.weights import WRITABLE
from easyedit_unlearn.types import ForgetSample

FEWEST = 2
"""Prompts of either kind without which there is no direction."""
DEPTHS = (0.25, 0.5, 0.75)
"""Of the layers whose direction is tried everywhere."""
EDITED = 5
"""Weights that are taken for edited: as many as ROME, MEMIT and AlphaEdit write at most in shipped files."""
LEADING = 2
"""Singular directions that are taken out of each."""
_ROWS = 16


def without_refusing(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, gone: Sequence[ForgetSample], refused: Sequence[str],
    answered: Sequence[str], ask: Ask,
) -> list[bool | None]:  # fmt: skip
    """Which facts come back when the direction of refusing is projected out of the residual stream (arXiv 2406.11717,
    section 2.4: directional ablation): each layer's own direction, or one layer's (``DEPTHS``) in all of them.

    Args:
        refused, answered: prompts that the model declines and such that it answers; None for all where there are fewer
            than ``FEWEST`` of either.
    """
    if min(len(refused), len(answered)) < FEWEST:
        return [None] * len(gone)
    found = refusal_directions(model, tokenizer, refused, answered)
    names = list(found)
    tried = [found] + [dict.fromkeys(names, found[names[int(depth * len(names))]]) for depth in DEPTHS]
    back = [False] * len(gone)
    for directions in tried:
        with ablated(model, directions):
            back = [before or now for before, now in zip(back, ask(gone), strict=True)]
    return list(back)


def refusal_directions(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, refused: Sequence[str], answered: Sequence[str]
) -> dict[str, Float[Tensor, " d_model"]]:
    """By decoder layer the unit vector from the mean output at the last token of answered prompts to that of refused
    ones (arXiv 2406.11717, equation 2: difference of means)."""
    means = [_last_outputs(model, tokenizer, prompts) for prompts in (refused, answered)]
    return {name: nn.functional.normalize(means[0][name] - means[1][name], dim=0) for name in means[0]}


@contextmanager
def ablated(model: nn.Module, directions: Mapping[str, Float[Tensor, " d_model"]]) -> Iterator[None]:
    """Within, each named module puts out x - r r^T x."""

    with ExitStack() as stack:
        for name, direction in directions.items():
            stack.enter_context(changing(model, name, partial(_without, direction)))
        yield


def _without(direction: Float[Tensor, " d_model"], hidden: Tensor) -> Tensor:
    unit = direction.to(hidden)
    left: Tensor = hidden - (hidden @ unit)[..., None] * unit
    return left


def reversed_edits(model: PreTrainedModel, gone: Sequence[ForgetSample], ask: Ask) -> list[bool | None]:
    """Which facts come back when the weights that look edited lose their leading singular directions (after
    arXiv 2505.20819, bottom-rank approximation), the model before being unknown: the MLPs' output weights whose largest
    singular value stands out most from their own next ones."""
    weights = _written(model)
    if not weights:
        return [None] * len(gone)
    parts = {name: leading(weight, LEADING) for name, weight in weights.items()}
    looks = sorted(parts, key=lambda name: -float(parts[name][1][0] / parts[name][1][-1]))
    with undone(model):
        for name in looks[:EDITED]:
            left, values, right = parts[name]
            with torch.no_grad():
                weights[name].sub_(((left[:, :LEADING] * values[:LEADING]) @ right[:, :LEADING].T).to(weights[name]))
        return list(ask(gone))


def _written(model: PreTrainedModel) -> dict[str, Tensor]:
    """The output weights of the MLPs, but of those that have none such (mixtures of experts) or have it packed."""
    found = {}
    for layer in layer_names(model):
        try:
            name = mlp_output(model, layer)
        except ConfigError:
            continue
        weight = key_value_weight(model.get_submodule(name))
        if weight.dtype in WRITABLE and not weight.is_meta:
            found[name] = weight
    return found


def leading(weight: Float[Tensor, "d_out d_in"], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V of the ``count`` largest singular values and of a few more, in float32 at least; nothing is drawn: the
    smaller Gram matrix is solved."""
    wide = weight.detach().float() if weight.dtype in (torch.float16, torch.bfloat16) else weight.detach()
    tall = wide if len(wide) >= wide.shape[1] else wide.T
    tall = tall.to("cpu" if tall.device.type == "mps" else tall.device).double()  # which has no float64
    values, right = torch.linalg.eigh(tall.T @ tall)
    kept = min(count + 3, len(values))
    values, right = values.flip(0)[:kept].clamp(min=0).sqrt(), right.flip(1)[:, :kept]
    left = (tall @ right) / values.clamp(min=torch.finfo(torch.float64).tiny)
    factors = (left, right) if len(tall) == len(wide) else (right, left)
    return factors[0].to(wide), values.to(wide), factors[1].to(wide)


def _last_outputs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]
) -> dict[str, Float[Tensor, " d_model"]]:
    """By decoder layer its mean output at the prompts' last tokens, in float32."""
    names, sums = layer_names(model), dict[str, Tensor]()
    texts = [list(tokenizer(prompt).input_ids) for prompt in prompts]
    with inferring(model):
        for start in range(0, len(texts), _ROWS):
            batch = texts[start : start + _ROWS]
            last = torch.tensor([len(text) - 1 for text in batch])

            def see(name: str, _given: Tensor, output: Tensor, last: Tensor = last) -> None:
                rows = torch.arange(len(last), device=output.device)
                found = output[rows, last.to(output.device)].float().sum(0)
                sums[name] = sums[name] + found if name in sums else found

            ids, _, mask = (
                t.to(device_of(model)) for t in pad_pairs([(text, []) for text in batch], pad_id(tokenizer))
            )
            with watched(model, names, see) as run:
                run(input_ids=ids, attention_mask=mask)
    return {name: total / len(texts) for name, total in sums.items()}
