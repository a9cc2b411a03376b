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


@dataclass
class MemoryHyperParams:
    """What GRACE and WISE share. ``inner_params`` names the one weight beside which the memory acts."""

    alg_name: str
    model_name: Any
    inner_params: Annotated[list[str], Field(min_length=1, max_length=1)]
    edit_lr: Positive
    n_iter: Count
    device: Any = 0
    batch_size: Count = 1
    max_length: Count = 30
    model_parallel: bool = False
    fp16: bool = False


@dataclass
class GraceHyperParams(MemoryHyperParams):
    """Of these our own engine reads ``eps``, the largest radius. Its codebook starts values warm, measures Euclidean
    distance and replaces the token that a key matches, whatever the other keys say."""

    eps: Positive = 1.0
    dist_fn: Literal["euc", "mmd", "cos"] = "euc"
    val_init: Literal["cold", "warm"] = "warm"
    val_train: Literal["sgd", "pert", "adv"] = "sgd"
    val_reg: str | None = None
    reg: str = "early_stop"
    replacement: Literal["replace_last", "replace_all", "replace_prompt"] = "replace_last"
    eps_expand: str = "coverage"
    num_pert: Count = 8
    dropout: NonNegative = 0.0


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
