"""How large a model's numbers are: by them settings in absolute units carry over from one model to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.hooks import evaluating, watched
from easyedit_unlearn.model.inference import plain_text


@dataclass(frozen=True)
class Scale:
    """Of one decoder layer, the median norm over tokens of plain text: of its output (``stream``), of what its MLP puts
    out (``output``), and of what the MLP's last module is given (``key``). The median, since a few tokens have norms a
    hundred times the others'."""

    stream: float
    output: float
    key: float


def scales(model: Any, tokenizer: Any, modules: Sequence[tuple[str, str]]) -> list[Scale]:
    """For each (decoder layer, module that writes its MLP's output), on the first 256 tokens of the bundled text."""
    ids = torch.tensor([tokenizer(plain_text()).input_ids[:256]], device=device_of(model))
    norms: dict[str, tuple[Tensor, Tensor]] = {}

    def see(name: str, given: Tensor, output: Tensor) -> None:
        hidden = output if output.dim() == 3 else output[0]  # a model of several streams
        norms[name] = given[0].float().norm(dim=-1).median(), hidden[0].float().norm(dim=-1).median()

    with evaluating(model), watched(model, [name for pair in modules for name in pair], see) as forward:
        forward(input_ids=ids)
    return [
        Scale(float(norms[layer][1]), float(norms[inside][1]), float(norms[inside][0])) for layer, inside in modules
    ]
