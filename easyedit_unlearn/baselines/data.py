"""Forget items, each paired with a random retain item, as the Trainer's data set."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.inference import pad_pairs
from easyedit_unlearn.prompting import encode_pair

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pair = tuple[list[int], list[int]]
"""Token ids of (prompt, answer with its end-of-text token)."""


class ForgetRetainDataset(torch.utils.data.Dataset[dict[str, Pair]]):
    """Item i is forget item i with a retain item drawn uniformly, anew each epoch, from (seed, epoch, i) alone."""

    def __init__(self, forget: Sequence[Pair], retain: Sequence[Pair], seed: int) -> None:
        self.forget, self.retain, self.seed, self.epoch = forget, retain, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer's data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.forget)

    def __getitem__(self, index: int) -> dict[str, Pair]:
        item = {"forget": self.forget[index]}
        if self.retain:
            draw = random.Random(f"{self.seed}/{self.epoch}/{index}")
            item["retain"] = self.retain[draw.randrange(len(self.retain))]
        return item


def collate(items: Sequence[Mapping[str, Pair]], pad_id: int) -> dict[str, torch.Tensor]:
    """One batch for one forward pass: all forget rows, then their retain rows, padded on the right.

    Returns:
        input_ids, labels and attention_mask, each (2 x items, length), or (items, length) without retain data.
    """
    rows = [item[part] for part in items[0] for item in items]
    return dict(zip(("input_ids", "labels", "attention_mask"), pad_pairs(rows, pad_id), strict=True))


def encode_requests(tokenizer: PreTrainedTokenizerBase, requests: Sequence[Mapping[str, Any]]) -> list[Pair]:
    """(prompt, ground_truth) of every request. Raises DataError when a request does not say what to forget."""
    for request in requests:
        if not request.get("ground_truth"):
            raise DataError(f"pass ground_truth, the answer to forget, for {request['prompt']!r}")
    return encode(tokenizer, [(request["prompt"], request["ground_truth"]) for request in requests])


def encode(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
    return [encode_pair(tokenizer, prompt, answer, end=True) for prompt, answer in pairs]
