"""LoRA (arXiv 2106.09685), by PEFT: low-rank adapters are trained in place of the weights, then added to them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from easyedit_unlearn.editors.modules import key_value_weight, module_named
from easyedit_unlearn.errors import ConfigError, UnlearnError
from easyedit_unlearn.storage import new_directory

if TYPE_CHECKING:
    from torch import nn

INSTALL = 'LoRA needs PEFT; run: pip install "easyedit-unlearn[lora]"'
_FACTORS = ("lora_A", "lora_B")


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

    def add_to(self, model: nn.Module, history: dict[str, Any] | None = None) -> None:
        """Add it to the weights, in place, and to what ``history["lora"]`` holds of a sequence's earlier changes."""
        with torch.no_grad():
            for name, (a, b) in self.factors.items():
                weight = key_value_weight(module_named(model, name))
                weight += (b @ a).to(weight)
        if history is not None:
            history["lora"] = history["lora"].plus(self) if "lora" in history else self


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


@contextmanager
def adapters(model: Any, modules: list[str], rank: int, alpha: int) -> Iterator[dict[str, LowRank]]:
    """Within, ``model`` has adapters on ``modules``, of which B starts at zero; their parameters have ``lora_`` in
    their names. Afterwards the model is as it was, whatever was trained, and the dictionary holds that as "found".

    Raises:
        UnlearnError: PEFT is missing.
    """
    try:
        from peft import get_peft_model, get_peft_model_state_dict
    except ImportError as error:
        raise UnlearnError(INSTALL) from error
    found: dict[str, LowRank] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers 5 for a switch by its old name
        wrapped = get_peft_model(model, _config(model, modules, rank, alpha))
    try:
        yield found
        trained = {key: value.detach().float().clone() for key, value in get_peft_model_state_dict(wrapped).items()}
        a, b = ({_module(key, part): value for key, value in trained.items() if part in key} for part in _FACTORS)
        found["found"] = LowRank({name: (a[name], alpha / rank * b[name]) for name in modules})
    finally:
        wrapped.unload()
        model.__dict__.pop("peft_config", None)  # older PEFT leaves it


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
    from safetensors.torch import save_file

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
        for part, tensor in zip(_FACTORS, both, strict=True)
    }
    with new_directory(Path(folder)) as filling:
        config.save_pretrained(str(filling))
        save_file(tensors, filling / "adapter_model.safetensors", metadata={"format": "pt"})


def _config(model: nn.Module, modules: list[str], rank: int, alpha: int) -> Any:
    from peft import LoraConfig

    transposed = type(module_named(model, modules[0])).__name__ == "Conv1D"
    return LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=modules, fan_in_fan_out=transposed, task_type="CAUSAL_LM"
    )


def _module(key: str, part: str) -> str:
    return key.removeprefix("base_model.model.").split(f".{part}")[0]
