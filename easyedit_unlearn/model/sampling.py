"""Sampled replies, the same for the same seed whatever else was drawn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.environment import own_random_state
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.inference import end_ids, inferring, own_settings, pad_id


@dataclass(frozen=True)
class Draw:
    """How to sample: ``count`` replies of at most ``max_new_tokens`` tokens."""

    count: int
    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int


def sample_replies(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, draw: Draw
) -> list[tuple[str, bool]]:
    """``draw.count`` replies to one prompt, in one batch, each with whether it ended by itself.

    The generators are seeded for this call alone and put back: replies do not depend on what was asked before.
    """
    ends = end_ids(model, tokenizer)
    settings = GenerationConfig(
        max_new_tokens=draw.max_new_tokens, do_sample=True, temperature=draw.temperature, top_p=draw.top_p, top_k=0,
        num_return_sequences=draw.count, eos_token_id=ends or None, pad_token_id=pad_id(tokenizer),
    )  # fmt: skip
    ids = torch.tensor([tokenizer(prompt).input_ids], device=device_of(model))
    with inferring(model), own_settings(model, settings), own_random_state(draw.seed):
        output: torch.Tensor = model.generate(  # type: ignore[operator]
            input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings
        )
    replies = output[:, ids.shape[1] :].tolist()
    # padding may be the end token: a reply that ended is one that holds any
    return [
        (str(tokenizer.decode(row, skip_special_tokens=True)).strip(), any(token in ends for token in row))
        for row in replies
    ]
