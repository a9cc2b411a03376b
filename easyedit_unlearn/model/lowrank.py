"""A change of weights of low rank, W + B A, and as a PEFT adapter (LoRA, arXiv 2106.09685)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from easyedit_unlearn.errors import ConfigError, UnlearnError
from easyedit_unlearn.model.hooks import key_value_weight, module_named
from easyedit_unlearn.storage import new_directory

INSTALL = 'LoRA needs PEFT; run: pip install "easyedit-unlearn[lora]"'
FACTORS = ("lora_A", "lora_B")


@dataclass(frozen=True)
class LowRank:
    """A change of linear modules' weights, W + B A, by module name: A (rank, d_in), B (d_out, rank), in float32."""

    factors: Mapping[str, tuple[Tensor, Tensor]]

    def plus(self, later: LowRank) -> LowRank:
        """Both changes, one after the other: their ranks add up."""
        both = {**self.factors, **later.factors}
        for name in self.factors.keys() & later.factors.keys():
            (a, b), (c, d) = self.factors[name], later.factors[name]
            both[name] = torch.cat([a, c]), torch.cat([b, d], dim=1)
        return LowRank(both)

    def times(self, scale: float) -> LowRank:
        return LowRank({name: (a, scale * b) for name, (a, b) in self.factors.items()})

    def add_to(self, model: nn.Module, state: dict[str, Any] | None = None) -> None:
        """Add it to the weights, in place, and to what ``state["lora"]`` holds of a sequence's earlier changes."""
        with torch.no_grad():
            for name, (a, b) in self.factors.items():
                weight = key_value_weight(module_named(model, name))
                weight += (b @ a).to(weight)
        if state is not None:
            state["lora"] = state["lora"].plus(self) if "lora" in state else self


def linear_modules(model: nn.Module, parameters: Iterable[str]) -> list[str]:
    """The linear modules whose weights are among ``parameters``, but for the one that gives the vocabulary.

    Raises:
        ConfigError: there is none.
    """
    wanted = {name.removesuffix(".weight") for name in parameters}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    found = [
        name
        for name, module in model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D") and name in wanted and module is not head
    ]
    if not found:
        raise ConfigError("names no linear module, which adapters need", key="target_modules")
    return found


def save_lora(change: LowRank, folder: str | Path, *, base: str | None = None) -> None:
    """Write ``change`` as a PEFT adapter (``adapter_config.json``, ``adapter_model.safetensors``) that
    ``peft.PeftModel.from_pretrained`` loads on the model it was trained on; ``base`` is that model's name.

    Raises:
        UnlearnError: PEFT is missing.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise UnlearnError(INSTALL) from error

    ranks = {name: len(a) for name, (a, _) in change.factors.items()}
    rank = max(ranks.values())
    others = {name: r for name, r in ranks.items() if r != rank}
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=list(ranks), rank_pattern=others, alpha_pattern=others,
        task_type="CAUSAL_LM", base_model_name_or_path=base, inference_mode=True,
    )  # fmt: skip
    tensors = {
        f"base_model.model.{name}.{part}.weight": tensor.contiguous().cpu()
        for name, both in change.factors.items()
        for part, tensor in zip(FACTORS, both, strict=True)
    }
    with new_directory(Path(folder)) as filling:
        config.save_pretrained(str(filling))
        save_file(tensors, filling / "adapter_model.safetensors", metadata={"format": "pt"})
