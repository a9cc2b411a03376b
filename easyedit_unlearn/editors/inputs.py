"""What one linear layer is given by texts: inputs where a memory must answer, and those it must leave alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from easyedit_unlearn.editors.corpus import corpus_of, has_corpus
from easyedit_unlearn.editors.lookup import Lookup
from easyedit_unlearn.editors.statistics import token_windows
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.hooks import evaluating, layer_shape, module_named, watched
from easyedit_unlearn.model.inference import pad_id, pad_pairs
from easyedit_unlearn.model.memories import EXACT
from easyedit_unlearn.model.prompting import beginning, encode_pair

_CORPUS_TOKENS = 4096


def outside_inputs(
    model: Any,
    tokenizer: Any,
    name: str,
    requests: Sequence[Mapping[str, Any]],
    edits: Sequence[Sequence[Lookup]],
    retain: Sequence[tuple[str, str]],
    keys: Float[Tensor, "d_key n"],
) -> Float[Tensor, "tokens d_key"]:
    """Inputs that must be left alone: of the retain set with its answers, of EasyEdit's ``loc_prompt``, and of the
    forget prompts themselves before the edited token; but not the ``keys`` of this very edit: where one forget prompt
    begins with another, the shorter one's last token is among the longer one's, and the memory shall answer there."""
    texts = [encode_pair(tokenizer, prompt, answer, end=True) for prompt, answer in retain]
    texts += [(tokenizer(r["loc_prompt"]).input_ids, []) for r in requests if r.get("loc_prompt")]
    before = [lookup.prompt[: lookup.position] for contexts in edits for lookup in contexts if lookup.position]
    kept = inputs_of(model, name, [prompt + answer for prompt, answer in texts], pad_id(tokenizer))
    own = inputs_of(model, name, before, pad_id(tokenizer))
    if len(own):
        nearest = torch.cdist(own, keys.T.to(own), compute_mode=EXACT).min(1).values
        own = own[nearest > SAME * own.norm(dim=1)]
    return torch.cat([kept, own.to(kept.device)])


SAME = 1e-4
"""Two inputs so near, for their size, are one: of one token after the same text."""


def corpus_inputs(model: Any, tokenizer: Any, name: str, hparams: Any) -> Tensor:
    """A few thousand tokens of plain text, where any is named; the retain set alone otherwise."""
    native = hparams.unlearn.native
    if not has_corpus(native) or native.corpus == "retain":
        return inputs_of(model, name, [], pad_id(tokenizer))
    corpus = corpus_of(native.model_copy(update={"corpus_tokens": _CORPUS_TOKENS}), hparams.alg_name)
    windows = [[*beginning(tokenizer), *row.tolist()] for batch in token_windows(tokenizer, corpus) for row in batch]
    return inputs_of(model, name, windows, pad_id(tokenizer))


def inputs_of(model: Any, name: str, texts: Sequence[list[int]], pad: int, batch_size: int = 16) -> Tensor:
    """What the layer is given for every real token, (tokens, d_key)."""
    parts = []
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        given, _ = passing(model, name, batch, pad)
        parts += [row[: len(text)] for row, text in zip(given, batch, strict=True)]
    shape = layer_shape(module_named(model, name))
    return torch.cat(parts) if parts else torch.empty(0, shape[1] if shape else 0, device=device_of(model))


def passing(model: Any, name: str, texts: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """The module's input and output for each text, (texts, length, d) in float32, padded on the right."""
    seen: list[Tensor] = []
    ids, _, mask = (t.to(device_of(model)) for t in pad_pairs([(text, []) for text in texts], pad))
    with (
        evaluating(model),
        watched(model, [name], lambda _n, given, out: seen.extend((given.float(), out.float()))) as run,
    ):
        run(input_ids=ids, attention_mask=mask)
    return seen[0], seen[1]
