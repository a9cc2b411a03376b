"""Memories beside the weights as a safetensors file beside a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from transformers import PreTrainedModel

from easyedit_unlearn.errors import DataError, UnlearnError
from easyedit_unlearn.model.hooks import WRAPPERS, layer_shape, module_named
from easyedit_unlearn.model.memories import Adapter, Codebook, SequenceMemory, SideMemory, attach, attached
from easyedit_unlearn.storage import ADAPTER_FILE, replace_file

_KINDS: dict[str, type[Adapter]] = {kind.method: kind for kind in (Codebook, SideMemory, SequenceMemory)}


def save_adapters(model: PreTrainedModel, folder: str | Path) -> Path | None:
    """Write what acts beside the weights as ``unlearning_adapter.safetensors``, or nothing when nothing does."""
    refuse_wrappers(model)
    found = attached(model)
    if not found:
        return None
    tensors = {f"{name}/{field}": t.cpu().contiguous() for name, a in found.items() for field, t in a.tensors.items()}
    methods = json.dumps({name: adapter.method for name, adapter in found.items()})
    path = Path(folder) / ADAPTER_FILE
    replace_file(path, save(tensors, metadata={"adapters": methods, "format": "pt"}))
    return path


def load_adapters(model: PreTrainedModel, path: str | Path) -> list[str]:
    """Re-attach what :func:`save_adapters` wrote; the one call a saved GRACE or WISE needs.

    Args:
        path: the file, or the checkpoint folder that holds it.

    Returns:
        The names of the layers.

    Raises:
        DataError: not such a file, or one for another model. The model is unchanged then.
    """
    file = Path(path) / ADAPTER_FILE if Path(path).is_dir() else Path(path)
    try:
        with safe_open(file, framework="pt") as opened:
            methods = json.loads((opened.metadata() or {})["adapters"])
            read = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        adapters = {str(name): _checked(model, str(name), str(method), read) for name, method in methods.items()}
    except (OSError, SafetensorError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{file}: is not an unlearning adapter of this package: {error}") from None
    except UnlearnError as error:
        raise DataError(f"{file}: belongs to another model: {error}") from None
    for name, adapter in adapters.items():
        attach(model, name, adapter)
    return list(adapters)


def require_mergeable(model: torch.nn.Module) -> None:
    """Raise UnlearnError when something acts beside the weights: they alone would not be the unlearned model."""
    refuse_wrappers(model)
    found = attached(model)
    if found:
        methods = ", ".join(sorted({adapter.method for adapter in found.values()}))
        raise UnlearnError(
            f"{methods} decides by its input whether it acts, so it cannot be merged into weights (nor into a GGUF "
            f"file): keep {ADAPTER_FILE} beside the checkpoint and call load_adapters(model, folder) after loading"
        )


def refuse_wrappers(model: torch.nn.Module) -> None:
    """EasyEdit's own GRACE and WISE wrap a layer, under parameter names that no checkpoint has."""
    for name, module in model.named_modules():
        if type(module).__name__ in WRAPPERS:
            raise UnlearnError(
                f"EasyEdit's {type(module).__name__} wraps {name} and cannot be saved from here: unlearn with "
                "easyedit-unlearn run, or with unlearn.engine: native"
            )


def _checked(model: PreTrainedModel, name: str, method: str, read: Mapping[str, Tensor]) -> Adapter:
    kind = _KINDS[method]
    wide = layer_shape(module_named(model, name))
    if wide is None:
        raise UnlearnError(f"{name} is not a linear layer")
    tensors = {field: read[f"{name}/{field}"] for field in kind.fields}
    for field, shape in kind.shapes(wide[1], wide[0]).items():
        found = tensors[field]
        count = len(found) if found.ndim and field == "prefix" else tensors[kind.fields[0]].shape[0]
        if not found.ndim or tuple(found.shape[1:]) != shape or not (0 < len(found) == count or field == "prefix"):
            raise UnlearnError(f"{name}/{field} is {tuple(found.shape)}, expected (n, {', '.join(map(str, shape))})")
        if not torch.isfinite(found).all():
            raise UnlearnError(f"{name}/{field} is not finite")
    return kind(**tensors)
