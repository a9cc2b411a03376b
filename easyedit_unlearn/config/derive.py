"""Which shipped hparams fit a model, told by its structure."""

from __future__ import annotations

from typing import Any

from easyedit_unlearn.config.shipped import shipped_hparams
from easyedit_unlearn.errors import ConfigError

ARCHITECTURES = {
    ("llama", 576, 30): "smollm2-135m",
    ("gpt2", 1600, 48): "gpt2-xl",
    ("gptj", 4096, 28): "gpt-j-6b",
    ("llama", 4096, 32): "llama2-7b",
    ("llama", 2048, 16): "llama3.2-1b",
    ("llama", 3072, 28): "llama3.2-3b",
    ("mistral", 4096, 32): "mistral-7b",
    ("qwen2", 3584, 28): "qwen2.5-7b",
}
"""(model type, hidden size, layers) of the models that hparams are shipped for."""


def hparams_name(method: str, model: Any) -> str:
    """The shipped file of a method for a model, told by its architecture.

    Raises:
        ConfigError: there is none; names what there is.
    """
    config = model.config
    shape: Any = (config.model_type, getattr(config, "hidden_size", None), getattr(config, "num_hidden_layers", None))
    name = "llama3-8b" if shape == ("llama", 4096, 32) and config.vocab_size > 1e5 else ARCHITECTURES.get(shape)
    folder = shipped_hparams() / method
    there = sorted(path.stem for path in folder.glob("*.yaml")) if folder.is_dir() else []
    if name not in there:
        raise ConfigError(
            f"no hparams of {method} are shipped for a {shape[0]} of {shape[2]} layers, {shape[1]} wide"
            + (f" (there are: {', '.join(there)})" if there else "")
            + "; copy the nearest file, adapt its layers and module names, and give its path",
            key="hparams",
        )
    return f"{method}/{name}"
