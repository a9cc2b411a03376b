"""Batched greedy generation, perplexity, and what both of them and training need, for any causal language model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.prompting import beginning
from easyedit_unlearn.model.shared import LONG, beginning_of, run_once
from easyedit_unlearn.model.thinking import CLOSINGS, THOUGHT, reply_text, still_thinks

Advance = Callable[[int], None]
"""Called with the number of items just done."""
IGNORED = -100
TOKENS = 16_384
"""Of the prompts of one batch: each is held in the cache, in every layer."""


def generate_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 48,
    batch_size: int = 48,
    advance: Advance | None = None,
) -> list[str]:
    """Greedy replies, one a prompt, in order. Batches are cut by length; padding is on the left and masked.

    A reply that is cut while the model still thinks goes on until the thought ends, for up to ``thinking.THOUGHT``
    tokens, and then has ``max_new_tokens`` of its own.
    """
    encoded = [list(tokenizer(prompt).input_ids) for prompt in prompts]
    replies = [""] * len(prompts)
    ends = end_ids(model, tokenizer)

    def ended(ids: Sequence[int]) -> bool:
        return bool(ids) and ids[-1] in ends

    with inferring(model):
        for rows in batches(list(map(len, encoded)), batch_size, TOKENS):
            own = [encoded[i] for i in rows]
            said = _generated(model, tokenizer, own, max_new_tokens)
            thinking = list(range(len(rows)))
            for longest, stops in ((THOUGHT, CLOSINGS), (max_new_tokens, ())):  # to the thought's end; then the answer
                texts = [reply_text(tokenizer, prompts[i], ids) for i, ids in zip(rows, said, strict=True)]
                thinking = [n for n in thinking if not ended(said[n]) and still_thinks(texts[n]) == bool(stops)]
                if thinking:
                    longer = [own[n] + said[n] for n in thinking]
                    for n, ids in zip(thinking, _generated(model, tokenizer, longer, longest, stops), strict=True):
                        said[n] += ids
            for i, ids in zip(rows, said, strict=True):
                replies[i] = reply_text(tokenizer, prompts[i], ids)
            if advance:
                advance(len(rows))
    return replies


def _generated(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[list[int]], longest: int,
    stops: Sequence[str] = (),
) -> list[list[int]]:  # fmt: skip
    """The ids that follow each prompt, greedily: up to and with an end token, or to where one of ``stops`` stands."""
    ends, pad, where = end_ids(model, tokenizer), pad_id(tokenizer), device_of(model)
    settings = GenerationConfig(
        max_new_tokens=longest, do_sample=False, eos_token_id=ends or None, pad_token_id=pad,
        stop_strings=list(stops) or None,
    )  # fmt: skip
    common = beginning_of(prompts)
    cached = run_once(model, prompts[0][:common], len(prompts)) if len(prompts) > 1 and common >= LONG else {}
    common = common if cached else 0
    rows = [torch.tensor(ids[common:]).flip(0) for ids in prompts]  # padded after what they share, or on the left
    rest = pad_sequence(rows, batch_first=True, padding_value=pad).flip(1)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True).flip(1)
    head = torch.tensor(prompts[0][:common], dtype=rest.dtype).expand(len(rows), -1)
    batch, mask = torch.cat([head, rest], 1).to(where), torch.cat([torch.ones_like(head), mask], 1).to(where)
    more = cached | ({"tokenizer": tokenizer} if stops else {})
    with own_settings(model, settings):
        output: torch.Tensor = model.generate(  # type: ignore[operator]
            input_ids=batch, attention_mask=mask, generation_config=settings, **more
        )
    found = []
    for row in output[:, batch.shape[1] :].tolist():
        kept = next((number + 1 for number, token in enumerate(row) if token in ends), len(row))
        while stops and kept and row[kept - 1] in (*ends, pad):
            kept -= 1
        found.append(row[:kept])
    return found


def perplexity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, *, window: int = 256) -> float:
    """exp of the mean cross-entropy per token of ``text``, in windows of ``window`` tokens without overlap, each after
    what the tokenizer puts before a text."""
    begin = beginning(tokenizer)
    ids = torch.tensor(tokenizer(text).input_ids[len(begin) :])
    total, count = 0.0, 0
    with inferring(model):
        for chunk in ids.split(window):
            if len(chunk) < 2:
                continue
            batch = torch.cat([torch.tensor(begin, dtype=chunk.dtype), chunk])[None].to(device_of(model))
            labels = batch.clone()
            labels[:, : len(begin)] = IGNORED
            nll, tokens = answer_nll(model(input_ids=batch).logits, labels)
            total, count = total + float(nll.sum()), count + int(tokens.sum())
    return float(torch.tensor(total / count).exp()) if count else float("nan")


def plain_text() -> str:
    """The bundled text for perplexity, written for this project: about 550 words of plain prose."""
    return Path(__file__).with_name("plain_text.txt").read_text(encoding="utf-8")


def answer_logits(
    model: Any,
    ids: Int[Tensor, "batch length"],
    labels: Int[Tensor, "batch length"],
    mask: Int[Tensor, "batch whole"],
    **further: Any,
) -> tuple[Float[Tensor, "batch span vocabulary"], Int[Tensor, "batch span"]]:
    """The logits, and labels, of the span that holds all answers: the vocabulary is too wide to compute the rest.

    Args:
        ids, labels, mask: as from :func:`pad_pairs`.
        further: for the model's forward; with a cache, ``mask`` is longer by what it holds.

    Returns:
        logits and labels, aligned as :func:`answer_nll` takes them. Models whose forward has no ``logits_to_keep``
        compute the whole length.
    """
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        return model(input_ids=ids, attention_mask=mask, **further).logits, labels
    answered = (labels != IGNORED).any(0).nonzero()
    start = max(int(answered[0]) - 1, 0) if len(answered) else 0  # the token before the answer predicts its first
    keep = torch.arange(start, ids.shape[1], device=ids.device)
    return model(input_ids=ids, attention_mask=mask, logits_to_keep=keep, **further).logits, labels[:, start:]


def answer_nll(
    logits: Float[Tensor, "batch length vocabulary"], labels: Int[Tensor, "batch length"]
) -> tuple[Float[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Sum of the answer tokens' cross-entropies, and their number, per row.

    Args:
        logits: position t predicts token t+1.
        labels: ``IGNORED`` on prompt and padding, not shifted.

    Returns:
        Sum of -log p in nats (float32 at least), and the token count.
    """
    if logits.shape[:2] != labels.shape:
        raise ValueError(f"logits {tuple(logits.shape)} do not match labels {tuple(labels.shape)}")
    labels = labels[:, 1:]
    logits = logits[:, :-1]
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    return losses.sum(1), (labels != IGNORED).sum(1)


def pad_pairs(
    pairs: Sequence[tuple[list[int], list[int]]], pad_id: int
) -> tuple[Int[Tensor, "batch length"], Int[Tensor, "batch length"], Int[Tensor, "batch length"]]:
    """(prompt ids, answer ids) -> input ids, labels and mask, padded on the right.

    The mask comes from lengths, never from comparing ids: with pad = eos a real end token must stay.
    """
    whole = [torch.tensor(prompt + answer, dtype=torch.long) for prompt, answer in pairs]
    labels = [torch.tensor([IGNORED] * len(prompt) + answer, dtype=torch.long) for prompt, answer in pairs]
    return (
        pad_sequence(whole, batch_first=True, padding_value=pad_id),
        pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        pad_sequence([torch.ones_like(ids) for ids in whole], batch_first=True),
    )


def batches(lengths: Sequence[int], size: int, tokens: int | None = None) -> Iterator[list[int]]:
    """Indices in batches of like length, longest first (so that memory peaks at once, not late), of ``size`` at most;
    of long texts fewer, so that a batch has no more than ``tokens``."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        fitting = size if tokens is None else min(size, max(1, tokens // max(lengths[order[0]], 1)))
        yield order[:fitting]
        del order[:fitting]


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ends = configured if isinstance(configured, list) else [configured]
    return sorted({i for i in (*ends, tokenizer.eos_token_id) if i is not None})


@contextmanager
def own_settings(model: PreTrainedModel, settings: GenerationConfig) -> Iterator[None]:
    """transformers fills what a config leaves at its default from the model's own: sampling, beams, penalties."""
    own = model.generation_config
    model.generation_config = settings
    try:
        yield
    finally:
        model.generation_config = own


@contextmanager
def inferring(model: PreTrainedModel) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)
