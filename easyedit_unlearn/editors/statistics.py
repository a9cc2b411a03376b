"""Key second moments E[k k^T] of MLP layers: what MEMIT must not disturb and AlphaEdit projects away from.

All requested layers in one streaming pass over text, stopped after the last of them; kept as safetensors under a name
made of everything that decides them, so a cached file is never stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.editors.corpus import Corpus
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.model.hooks import evaluating, key_value_weight, module_named, watched
from easyedit_unlearn.model.weights import fingerprint
from easyedit_unlearn.storage import cache_dir, new_directory


def null_space(
    covariance: Float[Tensor, "d d"], *, threshold: float | None = None, dimensions: int | None = None
) -> Float[Tensor, "d d"]:
    """P = U0 U0^T over the eigenvectors of least variance (AlphaEdit, arXiv 2410.02355, section 3.2).

    Args:
        covariance: symmetric. threshold: keep eigenvalues below it; or dimensions: keep that many.

    Returns:
        An orthogonal projection.
    """
    if (threshold is None) == (dimensions is None):
        raise ValueError("give either threshold or dimensions")
    values, vectors = torch.linalg.eigh(covariance)  # in ascending order
    count = int((values < threshold).sum()) if dimensions is None else min(dimensions, len(values))
    basis: Tensor = vectors[:, :count]
    return basis @ basis.T


_WINDOW, _BATCH = 256, 4


def key_moments(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    corpus: Corpus,
    *,
    progress: Progress = no_progress,
) -> dict[str, Float[Tensor, "d_key d_key"]]:
    """E[k k^T] over the corpus's tokens for each named module, in float32 on the model's device.

    k is the module's input at one token. Sums are float32 a batch, float64 across batches.

    Raises:
        DataError: the corpus has no tokens. ConfigError: no such module.
    """
    sums = {name: torch.zeros(_width(model, name), _width(model, name), dtype=torch.float64) for name in names}
    seen = 0

    def add(name: str, keys: Tensor, _output: Tensor) -> None:
        flat = keys.reshape(-1, keys.shape[-1]).float()
        sums[name] += (flat.T @ flat).to("cpu", torch.float64)

    batches = list(token_windows(tokenizer, corpus))
    if not batches:
        raise DataError("the corpus for key statistics has no tokens")
    advance = progress("key statistics", sum(batch.numel() for batch in batches))
    with evaluating(model), watched(model, names, add) as forward:
        for batch in batches:
            forward(input_ids=batch.to(model.device))
            seen += batch.numel()
            advance(batch.numel())
    return {name: (total / seen).to(model.device, torch.float32) for name, total in sums.items()}


def cached_key_moments(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    corpus: Corpus,
    *,
    progress: Progress = no_progress,
    folder: Path | None = None,
) -> dict[str, Float[Tensor, "d_key d_key"]]:
    """:func:`key_moments`, computed only for the modules whose file is not there yet."""
    folder = folder or cache_dir() / "statistics"
    decides = f"{fingerprint(model)}/{corpus.digest()}/{_tokens_digest(tokenizer, corpus)}"
    paths = {name: folder / hashlib.sha256(f"{decides}/{name}".encode()).hexdigest()[:32] for name in names}
    missing = [name for name in names if not (paths[name] / "moments.safetensors").is_file()]
    if missing:
        for name, moments in key_moments(model, tokenizer, missing, corpus, progress=progress).items():
            with new_directory(paths[name]) as filling:
                save_file({"moments": moments.cpu().contiguous()}, filling / "moments.safetensors")
    return {name: load_file(path / "moments.safetensors")["moments"].to(model.device) for name, path in paths.items()}


def cached_null_space(
    covariance: Float[Tensor, "d d"],
    *,
    threshold: float | None = None,
    dimensions: int | None = None,
    folder: Path | None = None,
) -> Float[Tensor, "d d"]:
    """:func:`solve.null_space`, kept under a name made of the covariance itself: minutes for wide layers."""
    given = covariance.detach().float().cpu().contiguous()
    name = hashlib.sha256(f"{threshold}/{dimensions}/".encode() + given.numpy().tobytes()).hexdigest()[:32]
    path = (folder or cache_dir() / "projections") / name
    if not (path / "projection.safetensors").is_file():
        with new_directory(path) as filling:
            projection = null_space(given, threshold=threshold, dimensions=dimensions)
            save_file({"projection": projection.contiguous()}, filling / "projection.safetensors")
    return load_file(path / "projection.safetensors")["projection"].to(covariance)


def _width(model: PreTrainedModel, name: str) -> int:
    return int(key_value_weight(module_named(model, name)).shape[1])


def _tokens_digest(tokenizer: PreTrainedTokenizerBase, corpus: Corpus) -> str:
    first = next(token_windows(tokenizer, corpus), torch.empty(0, dtype=torch.long))
    return hashlib.sha256(first.numpy().tobytes()).hexdigest()


def token_windows(tokenizer: PreTrainedTokenizerBase, corpus: Corpus) -> Iterator[Int[Tensor, "batch window"]]:
    """Batches of full windows of running text; the rest that fills no window comes last, alone."""
    stream: list[int] = []
    used = 0
    full = _WINDOW * _BATCH

    def take(count: int) -> Tensor:
        ids = torch.tensor(stream[:count])
        del stream[:count]
        return ids

    for text in corpus.texts:
        ids: list[Any] = tokenizer(text, add_special_tokens=False).input_ids
        ids = ids[: corpus.max_tokens - used]
        used += len(ids)
        stream.extend(ids)
        while len(stream) >= full:
            yield take(full).view(_BATCH, _WINDOW)
        if used >= corpus.max_tokens:
            break
    while len(stream) >= _WINDOW:
        yield take(_WINDOW).view(1, _WINDOW)
    if stream:
        yield take(len(stream)).view(1, -1)
