"""Unlearning in rounds: what a model still tells after training, perhaps in other words, is what is trained on next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.evaluation.inference import generate_replies
from easyedit_unlearn.text import gives_answer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from easyedit_unlearn.components import Stage


class StillGiven:
    """The requests whose answers a model gives when asked.

    Args:
        requests: EasyEdit's, with ``answers``, what counts as the answer within a reply.
        repeat: a request comes once for each reply that has given it away so far, the one it came with first: what is
            unlearned in one wording must not come back in an earlier one.
    """

    def __init__(self, requests: Sequence[Mapping[str, Any]], *, repeat: bool) -> None:
        self._requests, self._repeat = requests, repeat
        self._replies = [[request.get("ground_truth") or ""] for request in requests]

    def ask(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_new_tokens: int, stage: Stage
    ) -> list[dict[str, Any]]:
        """Greedy replies to all prompts; the requests that are given away, ``ground_truth`` being those replies."""
        prompts = [request["prompt"] for request in self._requests]
        advance = stage("asking what is still given", len(prompts))
        said = generate_replies(model, tokenizer, prompts, max_new_tokens=max_new_tokens, progress=advance)
        left: list[dict[str, Any]] = []
        for request, replies, reply in zip(self._requests, self._replies, said, strict=True):
            if not gives_answer(reply, request["prompt"], request["answers"]):
                continue
            if reply not in replies:
                replies.append(reply)
            left += [{**request, "ground_truth": text} for text in (replies if self._repeat else replies[-1:])]
        return left
