"""Unlearning in rounds: what a model still tells after training, perhaps in other words, is what is trained on next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from easyedit_unlearn.components import Progress
from easyedit_unlearn.evaluation.judging import gives_answer
from easyedit_unlearn.model.inference import generate_replies
from easyedit_unlearn.model.knowledge import ended
from easyedit_unlearn.types import PreTrainedModel, PreTrainedTokenizerBase


def still_given(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Mapping[str, Any]],
    max_new_tokens: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    """The requests whose answers the model gives when asked (greedily), ``ground_truth`` being its replies.

    Args:
        requests: EasyEdit's, with ``answers``, what counts as the answer within a reply.
    """
    prompts = [request["prompt"] for request in requests]
    advance = progress("asking what is still given", len(prompts))
    replies = generate_replies(model, tokenizer, prompts, max_new_tokens=max_new_tokens, advance=advance)
    return [
        {**request, "ground_truth": ended(tokenizer, reply, max_new_tokens, partial(_given, request))}
        for request, reply in zip(requests, replies, strict=True)
        if _given(request, reply)
    ]


def _given(request: Mapping[str, Any], reply: str) -> bool:
    return gives_answer(reply, request["prompt"], request["answers"])
