"""Which part of a prompt an answer hangs on: causal tracing in small."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.inference import answer_logits, answer_nll, inferring, pad_id, pad_pairs
from easyedit_unlearn.model.prompting import encode_pair, tokens_within

Span = tuple[int, int]
TOKENS = 24
"""Of an answer: what hangs on the subject comes early, and a reply may be a page."""


def span_costs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, answers: Sequence[str],
    spans: Sequence[Span], *, batch_size: int = 32,
) -> Float[Tensor, "spans answers"]:  # fmt: skip
    """What the log-probability per token of each answer's first ``TOKENS`` loses, in nats, when nothing attends to a
    span of the prompt.

    After ROME's causal trace (arXiv 2202.05262, section 2.1), with the span hidden from attention in place of noise on
    its embeddings: nothing is drawn, and all spans are run in one batch.

    Args:
        spans: [start, stop) in characters of ``prompt``.
    """
    whole = [encode_pair(tokenizer, prompt, answer) for answer in answers]
    pairs = [(ids, reply[:TOKENS]) for ids, reply in whole]
    hidden = [[], *(tokens_within(tokenizer, prompt, *span) for span in spans)]
    if any(0 in tokens for tokens in hidden):  # something must stay to attend to
        pairs = [([pad_id(tokenizer), *ids], answer) for ids, answer in pairs]
        hidden = [[token + 1 for token in tokens] for tokens in hidden]
    rows = [(pair, tokens) for tokens in hidden for pair in pairs]
    placed = "position_ids" in inspect.signature(model.forward).parameters  # else OPT counts them from the mask
    found: list[Tensor] = []
    with inferring(model):
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            ids, labels, mask = pad_pairs([pair for pair, _ in batch], pad_id(tokenizer))
            for row, (_, tokens) in zip(mask, batch, strict=True):
                row[tokens] = 0
            where = device_of(model)
            places = {"position_ids": torch.arange(ids.shape[1], device=where)[None].expand_as(ids)} if placed else {}
            nll, count = answer_nll(*answer_logits(model, ids.to(where), labels.to(where), mask.to(where), **places))
            found.append((nll / count).double().cpu())
    costs = torch.cat(found).view(len(hidden), len(answers))
    return costs[1:] - costs[0]
