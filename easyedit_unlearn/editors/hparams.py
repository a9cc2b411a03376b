"""The keys of EasyEdit's ROME, MEMIT and AlphaEdit files, for when its own classes are not there to declare them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Layers = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


@dataclass
class LocateThenEditHyperParams:
    """What the three share. ``layer_selection``, ``attn_module_tmp``, ``ln_f_module`` and ``lm_head_module`` are read
    by EasyEdit only; here modules are found by structure."""

    alg_name: str
    model_name: Any
    layers: Layers
    fact_token: Literal["last", "subject_first", "subject_last", "subject_first_after_last"]
    v_num_grad_steps: Count
    v_lr: Positive
    v_loss_layer: int
    v_weight_decay: NonNegative
    clamp_norm_factor: Positive
    kl_factor: NonNegative
    mom2_adjustment: bool
    rewrite_module_tmp: str
    layer_module_tmp: str
    mlp_module_tmp: str
    attn_module_tmp: str
    ln_f_module: str
    lm_head_module: str
    mom2_dataset: str
    mom2_n_samples: Count
    mom2_dtype: str
    stats_dir: str
    device: Any = 0
    max_length: Count = 40
    model_parallel: bool = False
    fp16: bool = False


@dataclass
class ROMEHyperParams(LocateThenEditHyperParams):
    """``context_template_length_params`` is EasyEdit's random text; ``unlearn.native.contexts`` stands in its place."""

    context_template_length_params: list[list[int]] = field(default_factory=list)


@dataclass
class BatchedHyperParams(LocateThenEditHyperParams):
    """MEMIT's and AlphaEdit's own."""

    batch_size: Count = 1
    layer_selection: Literal["all", "random"] = "all"
    mom2_update_weight: Positive = 15000


@dataclass
class AlphaEditHyperParams(BatchedHyperParams):
    """``P_loc`` is EasyEdit's file of projections, which the native engine never needs."""

    nullspace_threshold: Positive = 2e-2
    L2: NonNegative = 1.0
    P_loc: str = ""
