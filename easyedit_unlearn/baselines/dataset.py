"""Forget items, each paired with a random retain item, as the Trainer's data set."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.model.inference import pad_pairs
from easyedit_unlearn.model.prompting import TokenPair, encode, encode_pair
from easyedit_unlearn.text import answer_span

Part = Literal["forget", "refusal", "retain", "retain_refusal"]
"""Rows of a training step, one for each item: a forget question with its answer or with its refusal, and the retain
question paired with it, with its answer or with the forget item's refusal."""
Item = dict[Part, tuple[TokenPair, torch.Tensor | None]]
"""Pairs by part, each with what the frozen model made of it, where a method remembers that."""


class UnlearnDataset(torch.utils.data.Dataset[Item]):
    """Item i is forget item i with a retain item drawn uniformly, anew each epoch, from (seed, epoch, i) alone.

    Args:
        parts: which rows an item has.
        given: all pairs of the parts ``forget``, ``refusal`` (both in the forget set's order) and ``retain``.
    """

    def __init__(self, parts: Sequence[Part], given: Mapping[Part, Sequence[TokenPair]], seed: int) -> None:
        self.parts, self.given, self.seed, self.epoch = parts, given, seed, 0
        self.remembered: dict[Part, Mapping[int, torch.Tensor]] = {}
        self._length = len(given["refusal" if "refusal" in given else "forget"])

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer's data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Item:
        return {part: (self._pair(part, index), self._reference(part, index)) for part in self.parts}

    def partner(self, index: int, epoch: int) -> int:
        """Which retain item goes with forget item ``index``."""
        return random.Random(f"{self.seed}/{epoch}/{index}").randrange(len(self.given["retain"]))

    def pairs(self, part: Part, epochs: int) -> dict[int, TokenPair]:
        """All pairs of ``part`` that will be used in that many epochs, by their number in ``given``."""
        if part != "retain":
            return dict(enumerate(self.given[part]))
        used = {self.partner(index, epoch) for epoch in range(epochs) for index in range(len(self))}
        return {number: self.given[part][number] for number in sorted(used)}

    def _number(self, part: Part, index: int) -> int:
        return self.partner(index, self.epoch) if part in ("retain", "retain_refusal") else index

    def _pair(self, part: Part, index: int) -> TokenPair:
        number = self._number(part, index)
        if part == "retain_refusal":
            return self.given["retain"][number][0], self.given["refusal"][index][1]
        return self.given[part][number]

    def _reference(self, part: Part, index: int) -> torch.Tensor | None:
        known = self.remembered.get(part)
        return None if known is None else known[self._number(part, index)]


class EpochOrder(torch.utils.data.Sampler[int]):
    """The data set's items in an order drawn from its seed and epoch alone: the same in every process."""

    def __init__(self, data: UnlearnDataset) -> None:
        self._data = data

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self._data)))
        random.Random(f"order/{self._data.seed}/{self._data.epoch}").shuffle(order)
        return iter(order)

    def __len__(self) -> int:
        return len(self._data)


def collate(items: Sequence[Item], pad_id: int) -> dict[str, torch.Tensor]:
    """One batch for one forward pass, padded on the right: all rows of the first part, then all of the next, ...

    Returns:
        input_ids, labels and attention_mask, each (parts x items, length); and for a part whose items bring a
        reference, ``{part}_reference``: (items,), or (answer tokens, vocabulary).
    """
    parts = list(items[0])
    rows = [item[part][0] for part in parts for item in items]
    batch = dict(zip(("input_ids", "labels", "attention_mask"), pad_pairs(rows, pad_id), strict=True))
    for part in parts:
        known = [item[part][1] for item in items]
        if known[0] is not None:
            batch[f"{part}_reference"] = torch.stack(known) if known[0].dim() == 0 else torch.cat(known)  # type: ignore[arg-type]
    return batch


def encode_requests(
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Mapping[str, Any]],
    longest: int | None = None,
    *,
    fact: bool = False,
) -> list[TokenPair]:
    """(prompt, ground_truth) of every request; with ``fact``, (prompt and what leads up to the answer in ground_truth,
    that answer), all of ground_truth where none of the request's ``answers`` stands in it.

    Raises:
        DataError: a request does not say what to forget.
    """
    for request in requests:
        if not request.get("ground_truth"):
            raise DataError(f"pass ground_truth, the answer to forget, for {request['prompt']!r}")
    if fact:
        return [_fact(tokenizer, request, longest) for request in requests]
    return encode(tokenizer, [(request["prompt"], request["ground_truth"]) for request in requests], longest)


def _fact(tokenizer: PreTrainedTokenizerBase, request: Mapping[str, Any], longest: int | None) -> TokenPair:
    prompt, reply = request["prompt"], request["ground_truth"]
    begin, end = answer_span(reply, request["answers"]) or (0, len(reply))
    ((ids, reply_ids),) = encode(tokenizer, [(prompt, reply[:end])], longest, end=False)
    lead = encode_pair(tokenizer, prompt, reply[:begin].rstrip())[1]
    read = min(len(lead), len(reply_ids) - 1)  # tokens may join what leads up to the answer to its beginning
    return ids + reply_ids[:read], reply_ids[read:]
