"""Hparams of every editor in the main branch's ``ALG_DICT`` for a tiny Llama, as EasyEdit's own files have them."""

from __future__ import annotations

PLAIN = {"model_name": "unset", "device": 0, "model_parallel": False, "max_length": 256}
MODULES = {
    "rewrite_module_tmp": "model.layers.{}.mlp.down_proj", "layer_module_tmp": "model.layers.{}",
    "mlp_module_tmp": "model.layers.{}.mlp", "attn_module_tmp": "model.layers.{}.self_attn",
    "ln_f_module": "model.norm", "lm_head_module": "lm_head",
}  # fmt: skip
LOCATE = PLAIN | MODULES | {
    "stats_dir": "./stats", "layers": [0], "fact_token": "subject_last", "v_num_grad_steps": 8, "v_lr": 0.5,
    "v_loss_layer": 1, "v_weight_decay": 1e-3, "clamp_norm_factor": 4, "kl_factor": 0.0625, "mom2_adjustment": False,
    "mom2_dataset": "none", "mom2_n_samples": 1, "mom2_dtype": "float32",
}  # fmt: skip
ROME = LOCATE | {"context_template_length_params": [[3, 5]]}
MEMIT = LOCATE | {"layer_selection": "all", "mom2_update_weight": 0.01, "batch_size": 1}
ALPHAEDIT = MEMIT | {"nullspace_threshold": 1e-2, "L2": 0.01, "P_loc": ""}
MEMORY = PLAIN | {"inner_params": ["model.layers[0].mlp.down_proj.weight"], "edit_lr": 1.0, "n_iter": 5}
LORA = PLAIN | {
    "lora_type": "lora", "layers": [], "num_steps": 3, "batch_size": 1, "lr": 5e-3, "weight_decay": 0, "kl_factor": 0,
    "rank": 4, "lora_alpha": 8, "lora_dropout": 0.0, "norm_constraint": False, "target_modules": ["q_proj", "v_proj"],
}  # fmt: skip
EDITORS = {
    "ROME": ROME,
    "R-ROME": ROME,
    "MEMIT": MEMIT,
    "MEMIT-FE": MEMIT,
    "CORE": MEMIT,
    "EMMET": MEMIT | {"update_norm_lambda": 0, "emmet_lambda": 0.1},
    "PMET": MEMIT | {
        "rewrite_module_tmps": ["model.layers.{}.mlp.down_proj"], "nll_loss_factor": 1,
        "mlp_module_tmp": "model.layers.{}.mlp.down_proj", "attn_module_tmp": "model.layers.{}.self_attn.o_proj",
    },
    "EAMET": MEMIT | {
        "mom2_update_weight": [15000], "ks_bs": 1, "clamp_ks_factor": 1, "cs_factor": 1, "mse_factor": 1, "tau": 0.07,
        "norm_factor": 1e-3, "delta_init": "target_init", "weight_decay_method": "norm",
    },
    "AlphaEdit": ALPHAEDIT,
    "SPHERE": ALPHAEDIT | {"cumulative_ratio": 0.5, "suppression_strength": 0.5},
    "GRACE": MEMORY | {
        "eps": 1e-3, "dist_fn": "euc", "val_init": "cold", "val_train": "sgd", "val_reg": "none", "reg": "early_stop",
        "replacement": "replace_last", "eps_expand": "coverage", "num_pert": 8, "dropout": 0.0,
    },
    "WISE": MEMORY | {
        "mask_ratio": 0.5, "norm_constraint": 1.0, "act_margin": [1.0, 5.0, 2.0], "act_ratio": 0.5, "save_freq": 500,
        "merge_freq": 1000, "merge_alg": "ties", "objective_optimization": "only_label", "densities": 0.5,
        "weights": 1.0, "retrieve": True, "replay": False,
    },
    "DEFER": MEMORY | {"edit_lr": 1e-3, "threshold": 0.5},
    "FT": PLAIN | MODULES | {
        "layers": [0], "num_steps": 5, "lr": 1e-3, "weight_decay": 0, "kl_factor": 0, "norm_constraint": False,
        "batch_size": 1, "objective_optimization": "target_new",
    },
    "LoRA": LORA,
    "DPO": LORA | {"alpha": 0.99, "beta": 0.1},
    "QLoRA": PLAIN | {
        "quantization_bit": 4, "double_quant": True, "quant_type": "nf4", "lora_type": "lora", "lora_r": 4,
        "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"], "num_steps": 1, "batch_size": 1,
        "lr": 5e-3, "weight_decay": 0.0,
    },
    "KN": PLAIN | {
        "lr_scale": 1.0, "n_toks": 10, "refine": False, "batch_size": 1, "steps": 1, "adaptive_threshold": 0.2,
        "p": 0.4,
    },
    "ULTRAEDIT": PLAIN | {
        "model_class": "AutoModelForCausalLM", "tokenizer_class": "AutoTokenizer", "tokenizer_name": "x",
        "inner_params": ["model.layers.0.mlp.down_proj"], "dropout": 0.0, "no_grad_layers": None, "batch_size": 2,
        "lr": 1e-6, "token": "mask", "batch_size_once": 1, "editor_batch_size": 1024, "silent": False,
        "results_dir": ".",
    },
    "SimIE": PLAIN | {
        "base_method": "ROME", "lamHyper": 10.0, "init_model": True, "solver": "LU", "fast": False, "fp16": False,
    },
}  # fmt: skip
CANNOT = {
    "IKE": "edits no model",
    "FT-Api": "behind an API",
    "DeepEdit-Api": "behind an API",
    "MELO": "cannot be undone",
    "DINM": "SafetyEditor",
    "MEND": "name it as archive",
    "SERAC": "name it as archive",
}
"""Those that do not run as unlearners, and what they say."""
