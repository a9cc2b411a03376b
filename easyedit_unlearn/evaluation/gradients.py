"""Membership by the size of the loss's gradient: a text that was trained on pulls less at the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.components import Progress
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.inference import answer_logits, answer_nll, pad_id, pad_pairs
from easyedit_unlearn.model.processes import shared_out
from easyedit_unlearn.model.prompting import cut_to, encode_pair
from easyedit_unlearn.model.structure import context_length


def gradient_norms(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]], progress: Progress
) -> list[float | None]:
    """The Euclidean norm, over all parameters, of the gradient of each answer's mean cross-entropy (arXiv 2402.17012);
    None where the answer has no tokens or the norm is not finite. One backward pass a pair; the model stays as it is.
    """

    def measure(share: Sequence[tuple[str, str]]) -> list[float | None]:
        advance, found = progress("gradients", len(share)), []
        with _all_trainable(model) as parameters:
            for prompt, answer in share:
                encoded = cut_to(context_length(model), encode_pair(tokenizer, prompt, answer))
                found.append(_norm(model, encoded, pad_id(tokenizer), parameters) if encoded[1] else None)
                advance(1)
        return found

    return shared_out(pairs, measure)


def _norm(
    model: PreTrainedModel, pair: tuple[list[int], list[int]], pad: int, parameters: Sequence[nn.Parameter]
) -> float | None:
    ids, labels, mask = (t.to(device_of(model)) for t in pad_pairs([pair], pad))
    total, count = answer_nll(*answer_logits(model, ids, labels, mask))
    gradients = torch.autograd.grad((total / count).sum(), parameters, allow_unused=True)
    norm = math.sqrt(sum(float(g.float().pow(2).sum()) for g in gradients if g is not None))
    return norm if math.isfinite(norm) else None


@contextmanager
def _all_trainable(model: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Every floating parameter takes part, whatever was frozen; flags and mode come back."""
    parameters = [p for p in model.parameters() if p.is_floating_point()]
    flags, training = [p.requires_grad for p in parameters], model.training
    model.eval()
    for parameter in parameters:
        parameter.requires_grad_()
    try:
        with torch.enable_grad():
            yield parameters
    finally:
        for parameter, flag in zip(parameters, flags, strict=True):
            parameter.requires_grad_(flag)
        model.train(training)
