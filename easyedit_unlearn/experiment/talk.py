"""A conversation with one model, each reply shown as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.inference import end_ids, inferring, own_settings, pad_id
from easyedit_unlearn.model.prompting import format_prompt, resolve_style
from easyedit_unlearn.model.structure import context_length
from easyedit_unlearn.types import ModelPair


class Talk:
    """Greedy replies, each after all that was said before; a model without a chat template is asked each question
    alone. ``system``: said before everything."""

    def __init__(self, pair: ModelPair, *, system: str | None = None, max_new_tokens: int = 128) -> None:
        self._model, self._tokenizer = pair
        self._system, self._longest = system, max_new_tokens
        self._turns: list[tuple[str, str]] = []

    def forget(self) -> None:
        """Begin anew."""
        self._turns = []

    def say(self, question: str, show: Callable[[str], Any] = lambda _text: None) -> str:
        """The reply; ``show`` is given its pieces as they come."""
        import torch
        from transformers import GenerationConfig, TextStreamer

        class Pieces(TextStreamer):  # type: ignore[misc]
            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                show(text)

        chat = resolve_style(self._tokenizer, "auto") == "chat"
        longest = context_length(self._model)
        while True:
            prompt = format_prompt(self._tokenizer, question, system=self._system, shots=self._turns if chat else ())
            ids = torch.tensor([self._tokenizer(prompt).input_ids], device=device_of(self._model))
            if not (self._turns and longest is not None and ids.shape[1] + self._longest > longest):
                break
            del self._turns[0]  # the context holds no more
        settings = GenerationConfig(
            max_new_tokens=self._longest, do_sample=False, pad_token_id=pad_id(self._tokenizer),
            eos_token_id=end_ids(self._model, self._tokenizer) or None,
        )  # fmt: skip
        streamer = Pieces(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        with inferring(self._model), own_settings(self._model, settings):
            output: Any = self._model.generate(  # type: ignore[operator]
                input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings, streamer=streamer
            )
        reply = str(self._tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)).strip()
        self._turns.append((question, reply))
        return reply
