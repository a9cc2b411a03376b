"""What the untouched model knows of the facts of an experiment: each is asked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from easyedit_unlearn.components import Progress
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.observe import GenerationConfig
from easyedit_unlearn.model.checkpoint import hashed
from easyedit_unlearn.model.knowledge import Store, ask_all, ended, knows
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.types import ForgetSample, ModelPair


class Knowledge:
    """Facts by their keys (``ForgetSample.key``), and replies by their questions."""

    def __init__(self, model: ModelPair, generation: GenerationConfig, progress: Progress, store: Store | None) -> None:
        self._model, self._generation, self._progress, self._store = model, generation, progress, store
        self.known: dict[str, bool] = {}
        self.replies: dict[str, str] = {}
        self._before: Mapping[str, str] = {}
        self._recalled: Mapping[str, bool] = {}

    def recall(self, known_before: Mapping[str, bool], replies: Mapping[str, str] | None = None) -> None:
        """Go by what a model knew before it was unlearned, by keys or their hashes; what is not listed is asked of this
        model. ``replies`` are what that model said, by question."""
        self._recalled = dict(known_before)
        self._before = replies or {}

    def of(self, samples: Sequence[ForgetSample]) -> frozenset[str]:
        """The keys of those that the model answers, and of plain texts.

        Raises:
            DataError: a question, or a rephrase of one, is longer than the model's context.
        """
        for sample in samples:
            found = self._recalled.get(sample.key, self._recalled.get(hashed(sample.key)))
            if found is not None:
                self.known[sample.key] = found
        self._check_lengths([sample for sample in samples if sample.key not in self.known and not sample.is_text])
        self.known.update({sample.key: True for sample in samples if sample.is_text})  # it is not asked for: all count
        new = [sample for sample in samples if sample.key not in self.known]
        if new:
            replies = ask_all(
                *self._model, new, style=self._generation.style, max_new_tokens=self._generation.max_new_tokens,
                progress=self._progress, stored=self._store,
            )  # fmt: skip
            for sample, reply in zip(new, replies, strict=True):
                self.replies[sample.question], self.known[sample.key] = reply, knows(sample, reply)
        return frozenset(sample.key for sample in samples if self.known[sample.key])

    def _check_lengths(self, samples: Sequence[ForgetSample]) -> None:
        """Before anything is asked: attention over a text of 40,000 characters takes tens of gigabytes."""
        from easyedit_unlearn.model.structure import context_length

        model, tokenizer = self._model
        longest = context_length(model)
        if longest is None:
            return
        texts = [(sample, text) for sample in samples for text in (sample.question, *sample.rephrases)]
        for sample, text in texts:
            if len(text.encode()) <= longest // 2:  # no token is shorter than a byte, so most need not be counted
                continue
            count = len(tokenizer(format_prompt(tokenizer, text, self._generation.style)).input_ids)
            if count + self._generation.max_new_tokens > longest:
                raise DataError(
                    f"sample {sample.id}: {text[:60]!r}... has {count} tokens, and with the reply more than the "
                    f"model's context of {longest} holds; shorten it"
                )

    def with_reply(self, sample: ForgetSample) -> ForgetSample:
        """The reply just seen, when it holds the fact, is what the model would say: no need to ask again."""
        reply = self._before.get(sample.question, self.replies.get(sample.question))
        if sample.response or sample.is_text or reply is None or not knows(sample, reply):
            return sample
        length = self._generation.max_new_tokens
        return replace(sample, response=ended(self._model[1], reply, length, partial(knows, sample)))
