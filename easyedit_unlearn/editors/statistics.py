"""Key second moments E[k k^T] of MLP layers: what MEMIT must not disturb and AlphaEdit projects away from.

All requested layers in one streaming pass over text, stopped after the last of them; kept as safetensors under a name
made of everything that decides them, so a cached file is never stale.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.caches import entry, keep, read
from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.editors.corpus import Corpus
from easyedit_unlearn.errors import ConfigError, DataError, UnlearnWarning
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.hooks import evaluating, layer_shape, module_named, watched
from easyedit_unlearn.model.inference import batches, pad_id, pad_pairs
from easyedit_unlearn.model.prompting import beginning
from easyedit_unlearn.model.weights import fingerprint


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


_WINDOW, _BATCH, _ROWS = 256, 4, 16
_TOGETHER = 4096
"""Tokens whose products are summed in float32, before they are added to the sums in float64."""


class _Moments:
    """Sums of k k^T for some modules, over tokens that come batch by batch; ``add`` is what ``watched`` calls."""

    def __init__(self, model: PreTrainedModel, names: Sequence[str]) -> None:
        self._model = model
        self._sums = {
            name: torch.zeros(_width(model, name), _width(model, name), dtype=torch.float64) for name in names
        }
        self._waiting: dict[str, list[Tensor]] = {name: [] for name in names}
        self.mask: Tensor | None = None
        self._tokens = 0

    def add(self, name: str, keys: Tensor, _output: Tensor) -> None:
        flat = keys.reshape(-1, keys.shape[-1]) if self.mask is None else keys[self.mask.bool().to(keys.device)]
        self._waiting[name].append(flat)
        if sum(map(len, self._waiting[name])) >= _TOGETHER:
            self._sum(name)

    def mean(self, tokens: int) -> dict[str, Float[Tensor, "d_key d_key"]]:
        """Symmetric, float32, on the model's device."""
        for name in self._sums:
            self._sum(name)
        where = device_of(self._model)
        return {name: (total / max(tokens, 1)).to(where, torch.float32) for name, total in self._sums.items()}

    def _sum(self, name: str) -> None:
        if self._waiting[name]:
            keys = torch.cat(self._waiting[name]).float()
            self._waiting[name] = []
            self._sums[name] += (keys.T @ keys).to("cpu")


def key_moments(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    corpus: Corpus,
    *,
    progress: Progress = no_progress,
) -> dict[str, Float[Tensor, "d_key d_key"]]:
    """E[k k^T] over the corpus's tokens for each named module, in float32 on the model's device.

    k is the module's input at one token. Every window of text begins with what the tokenizer puts before a text: a
    model that was trained with it makes other keys without. Sums are float32 within some thousand tokens, float64
    across them. Warns of fewer tokens than keys have dimensions: there are directions that no text was seen in.

    Raises:
        DataError: the corpus has no tokens. ConfigError: no such module.
    """
    moments, seen = _Moments(model, names), 0
    begin = beginning(tokenizer)
    windows = list(token_windows(tokenizer, corpus))
    if not windows:
        raise DataError("the corpus for key statistics has no tokens")
    tokens = sum(batch.numel() for batch in windows)
    wide = max(_width(model, name) for name in names)
    if tokens < wide:
        warnings.warn(
            f"{tokens} tokens of text for keys of {wide} dimensions: what the model keeps is known in part only. Give "
            f"at least {wide}, better ten times as many (unlearn.native.corpus, or EASYEDIT_UNLEARN_DATA)",
            UnlearnWarning, stacklevel=2,
        )  # fmt: skip
    advance = progress("key statistics", tokens)
    with evaluating(model), watched(model, names, moments.add) as forward:
        for batch in windows:
            ids = torch.cat([torch.tensor(begin, dtype=batch.dtype).expand(len(batch), -1), batch], dim=1)
            forward(input_ids=ids.to(device_of(model)))
            seen += ids.numel()
            advance(batch.numel())
    return moments.mean(seen)


def prompt_moments(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, names: Sequence[str], prompts: Sequence[str]
) -> dict[str, Float[Tensor, "d_key d_key"]]:
    """E[k k^T] over the prompts' tokens, each prompt by itself and as the model is given it, special tokens included:
    a key in the middle of a running text is another."""
    texts = [list(tokenizer(prompt).input_ids) for prompt in prompts]
    moments = _Moments(model, names)
    with evaluating(model), watched(model, names, moments.add) as forward:
        for rows in batches([len(text) for text in texts], _ROWS):
            ids, _, moments.mask = pad_pairs([(texts[i], []) for i in rows], pad_id(tokenizer))
            where = device_of(model)
            forward(input_ids=ids.to(where), attention_mask=moments.mask.to(where))
    return moments.mean(sum(map(len, texts)))


def prompt_keys(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, names: Sequence[str], prompts: Sequence[str]
) -> dict[str, Float[Tensor, "d_key tokens"]]:
    """The keys themselves, in float32 on the model's device; tokens with which all prompts begin count once."""
    texts = [list(tokenizer(prompt).input_ids) for prompt in dict.fromkeys(prompts)]
    shared = next((n for n, ids in enumerate(zip(*texts, strict=False)) if len(set(ids)) > 1), 0)
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    chosen = torch.zeros(0, 0, dtype=torch.bool)

    def see(name: str, keys: Tensor, _output: Tensor) -> None:
        found[name].append(keys[chosen.to(keys.device)].float())

    with evaluating(model), watched(model, names, see) as forward:
        for rows in batches([len(text) for text in texts], _ROWS):
            ids, _, mask = pad_pairs([(texts[i], []) for i in rows], pad_id(tokenizer))
            chosen = mask.bool()
            chosen[[n for n, i in enumerate(rows) if i], :shared] = False
            where = device_of(model)
            forward(input_ids=ids.to(where), attention_mask=mask.to(where))
    return {name: torch.cat(parts).T for name, parts in found.items()}


def cached_key_moments(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    corpus: Corpus,
    *,
    progress: Progress = no_progress,
) -> dict[str, Float[Tensor, "d_key d_key"]]:
    """:func:`key_moments`, computed only for the modules of which it is not kept yet."""
    decides = f"{beginning(tokenizer)}/{fingerprint(model)}/{corpus.digest()}/{_tokens_digest(tokenizer, corpus)}"
    paths = {name: entry("statistics", _named(f"{decides}/{name}".encode())) for name in names}
    found = {name: kept for name, path in paths.items() if (kept := _read(path, "moments")) is not None}
    missing = [name for name in names if name not in found]
    if missing:
        made = key_moments(model, tokenizer, missing, corpus, progress=progress)
        for name, moments in made.items():
            keep(paths[name], save({"moments": moments.cpu().contiguous()}))
        found |= made
    return {name: found[name].to(device_of(model)) for name in names}


SMALL = 2048
"""Width up to which a null space is found anew, in seconds, and not kept."""


def cached_null_space(
    covariance: Float[Tensor, "d d"], *, threshold: float | None = None, dimensions: int | None = None
) -> Float[Tensor, "d d"]:
    """:func:`null_space`; of a wide layer, for which it takes minutes, kept under a name made of the covariance."""
    given = covariance.detach().float().cpu().contiguous()
    if len(given) <= SMALL:
        return null_space(given, threshold=threshold, dimensions=dimensions).to(covariance)
    path = entry("projections", _named(f"{threshold}/{dimensions}/".encode() + given.numpy().tobytes()))
    projection = _read(path, "projection")
    if projection is None:
        projection = null_space(given, threshold=threshold, dimensions=dimensions)
        keep(path, save({"projection": projection.contiguous()}))
    return projection.to(covariance)


def _named(decides: bytes) -> str:
    return hashlib.sha256(decides).hexdigest()[:32]


def _read(path: Path, name: str) -> Tensor | None:
    """A kept tensor; None where there is none, or what is there is none of ours."""
    content = read(path)
    try:
        return None if content is None else load(content)[name]
    except (SafetensorError, KeyError):
        return None


def _width(model: PreTrainedModel, name: str) -> int:
    shape = layer_shape(module_named(model, name))
    if shape is None:
        raise ConfigError(f"{name!r} is no linear layer, so it has no keys", key="rewrite_module_tmp")
    return shape[1]


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
