"""What a model makes of answers that it is given: log-probabilities and more, token by token, of any causal LM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.inference import IGNORED, Advance, answer_logits, batches, inferring, pad_id, pad_pairs
from easyedit_unlearn.model.prompting import cut_to, encode_pair
from easyedit_unlearn.model.shared import LONG, beginning_of, run_once
from easyedit_unlearn.model.structure import context_length
from easyedit_unlearn.types import AnswerTokens

SHARED = 3
"""From so many answers on, the prompt that they share is computed once."""
TOKENS = 8192
"""Of one batch: the vocabulary's logits are held for each."""
Encoded = tuple[list[int], list[int]]


def answer_logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    *,
    batch_size: int = 16,
    advance: Advance | None = None,
) -> list[float | None]:
    """Mean log-probability per answer token of each (prompt, answer), in nats; None where the answer has no tokens."""
    found = answer_tokens(model, tokenizer, pairs, batch_size=batch_size, advance=advance)
    return [None if tokens is None else fmean(tokens.logprobs) for tokens in found]


def answer_tokens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    *,
    batch_size: int = 16,
    advance: Advance | None = None,
    end: int | None = None,
) -> list[AnswerTokens | None]:
    """The answer of each (prompt, answer), token by token; None where it has no tokens. What the model's context does
    not hold of an answer is left out, with a warning. ``end``: also how likely this token is after a whole answer (see
    ``prompting.reply_end``); a plain text, which follows no prompt, has none."""
    longest, whole = context_length(model), [encode_pair(tokenizer, *pair) for pair in pairs]
    encoded = [cut_to(longest, pair) for pair in whole]
    closed = [
        end is not None and bool(prompt and said) and (longest is None or len(ids) + len(said) < longest)
        for (prompt, _), (ids, said) in zip(pairs, whole, strict=True)
    ]
    closing = [] if end is None else [end]
    asked = [(ids, said + closing * more) for (ids, said), more in zip(encoded, closed, strict=True)]
    result: list[AnswerTokens | None] = [None] * len(pairs)
    for i, logits, labels in _read(model, asked, pad_id(tokenizer), batch_size, advance):
        found = _tokens(logits, labels)
        result[i] = _with_end(found) if closed[i] else replace(found, cut=len(encoded[i][1]) < len(whole[i][1]))
    return result


def predicted(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoded: Sequence[Encoded], advance: Advance
) -> list[tuple[int, ...]]:
    """The likeliest token at each place of each (prompt ids, answer ids), after the true ones before it."""
    kept = [cut_to(context_length(model), pair) for pair in encoded]
    result: list[tuple[int, ...]] = [()] * len(encoded)
    for i, logits, _ in _read(model, kept, pad_id(tokenizer), 16, advance):
        result[i] = tuple(logits.argmax(-1).tolist())
    return result


def _read(
    model: PreTrainedModel, encoded: Sequence[Encoded], pad: int, batch_size: int, advance: Advance | None
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Of each that has an answer its index, the logits (tokens, vocabulary) that predict it, and its tokens."""
    same = _same(encoded)
    left = sorted(set(range(len(encoded))).difference(*same))
    lengths = [len(encoded[i][0]) + len(encoded[i][1]) for i in left]
    groups = [[left[k] for k in rows] for rows in batches(lengths, batch_size, TOKENS)]
    groups += [rows[start : start + batch_size] for rows in same for start in range(0, len(rows), batch_size)]
    with inferring(model):
        for rows in groups:
            logits, labels = _logits(model, [encoded[i] for i in rows], pad)
            for number, i in enumerate(rows):
                place = labels[number, 1:] != IGNORED
                if place.any():
                    yield i, logits[number, :-1][place], labels[number, 1:][place]
            if advance:
                advance(len(rows))


def _with_end(found: AnswerTokens) -> AnswerTokens:
    """The last token is the end of the text: it is scored by itself."""
    return AnswerTokens(
        found.logprobs[:-1], found.greedy[:-1], found.means[:-1], found.spreads[:-1], found.ranks[:-1],
        end=found.logprobs[-1],
    )  # fmt: skip


def _same(encoded: Sequence[Encoded]) -> list[list[int]]:
    """The indices of each prompt of two tokens or more that many answers share."""
    rows: dict[tuple[int, ...], list[int]] = {}
    for number, (prompt, _answer) in enumerate(encoded):
        rows.setdefault(tuple(prompt), []).append(number)
    return [found for prompt, found in rows.items() if len(found) >= SHARED and len(prompt) > 1]


def _logits(model: PreTrainedModel, pairs: Sequence[Encoded], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of one batch, as ``answer_nll`` takes them; what all prompts begin with is run once."""
    where, common = device_of(model), beginning_of([prompt for prompt, _ in pairs])
    alike = len(pairs) >= SHARED and all(prompt == pairs[0][0] for prompt, _ in pairs)
    pays = alike or (len(pairs) > 1 and common >= LONG)
    cached = run_once(model, pairs[0][0][:common], len(pairs), cropped=alike) if pays else {}
    if not cached:
        return answer_logits(model, *(t.to(where) for t in pad_pairs(pairs, pad)))
    rest = [(prompt[common:], answer) for prompt, answer in pairs]
    ids, labels, mask = (t.to(where) for t in pad_pairs(rest, pad))
    seen = torch.cat([mask.new_ones(len(pairs), common), mask], dim=1)
    return answer_logits(model, ids, labels, seen, **cached)


def _tokens(logits: torch.Tensor, labels: torch.Tensor) -> AnswerTokens:
    """Of one answer's logits (tokens, vocabulary), in float32 at least, and labels (tokens,)."""
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    logprobs = logits.log_softmax(-1)
    probabilities = logprobs.exp()
    known = logprobs.clamp(min=-1e4)  # a probability of 0 times a log of -inf is 0
    means = (probabilities * known).sum(-1)
    spreads = (probabilities * (known - means[:, None]) ** 2).sum(-1).sqrt()
    chosen = logprobs.gather(-1, labels[:, None])[:, 0]
    ranks = 1 + (logits > logits.gather(-1, labels[:, None])).sum(-1)
    return AnswerTokens(
        tuple(chosen.tolist()), tuple((logprobs.argmax(-1) == labels).tolist()), tuple(means.tolist()),
        tuple(spreads.tolist()), tuple(ranks.tolist()),
    )  # fmt: skip
