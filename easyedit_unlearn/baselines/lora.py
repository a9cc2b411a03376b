"""LoRA (arXiv 2106.09685), by PEFT: low-rank adapters are trained in place of the weights, then added to them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.model.hooks import module_named
from easyedit_unlearn.model.lowrank import FACTORS, INSTALL, LowRank

if TYPE_CHECKING:
    from torch import nn


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
        a, b = ({_module(key, part): value for key, value in trained.items() if part in key} for part in FACTORS)
        found["found"] = LowRank({name: (a[name], alpha / rank * b[name]) for name in modules})
    finally:
        wrapped.unload()
        model.__dict__.pop("peft_config", None)  # older PEFT leaves it


def _config(model: nn.Module, modules: list[str], rank: int, alpha: int) -> Any:
    from peft import LoraConfig

    transposed = type(module_named(model, modules[0])).__name__ == "Conv1D"
    return LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=modules, fan_in_fan_out=transposed, task_type="CAUSAL_LM"
    )


def _module(key: str, part: str) -> str:
    return key.removeprefix("base_model.model.").split(f".{part}")[0]
