"""The retain set as (prompt, answer) pairs, for methods that train on it or must not disturb it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.config.settings import UnlearnSettings
from easyedit_unlearn.model.knowledge import Store, ask_all, ended, knows
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.tasks.splits import load, pick
from easyedit_unlearn.text import until_answer
from easyedit_unlearn.types import ForgetSample, PreTrainedModel, PreTrainedTokenizerBase


def wants_retain(hparams: UnlearnHyperParams) -> bool:
    """True if the retain set of the hparams comes to any use, by the method or as its corpus."""
    return hparams.method.reads_retain or hparams.unlearn.native.corpus == "retain"


def retain_pairs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, hparams: UnlearnHyperParams, prompts: Sequence[str]
) -> list[tuple[str, str]]:
    """The retain data that the hparams name, without the formatted ``prompts`` that are being edited."""
    settings = hparams.unlearn
    if settings.retain is None:
        return []
    edited = set(prompts)
    taken = [s for s in load(settings.retain) if format_prompt(tokenizer, s.question, settings.prompt) in edited]

    def known(samples: Sequence[ForgetSample]) -> frozenset[str]:
        replies = ask_all(model, tokenizer, samples, style=settings.prompt, max_new_tokens=settings.max_new_tokens)
        return frozenset(s.key for s, reply in zip(samples, replies, strict=True) if knows(s, reply))

    samples = [sample for sample in pick(settings.retain, known, taken) if sample not in taken]
    return answer_pairs(with_responses(model, tokenizer, samples, settings), tokenizer, hparams)


def with_responses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[ForgetSample],
    settings: UnlearnSettings,
    progress: Progress = no_progress,
    stored: Store | None = None,
) -> list[ForgetSample]:
    """Fill in the model's own reply where ``unlearn.answers`` is "model" and a sample has none; ``Unfinished`` where it
    does not end within ``max_new_tokens``: to train on an end there is to teach the model to stop in mid-sentence.

    A reply that does not hold the fact is not what must be forgotten or kept: the data set's answer stands in.
    """
    if settings.answers == "dataset":
        return [replace(sample, response=None) for sample in samples]
    missing, length = [sample for sample in samples if sample.response is None], settings.max_new_tokens
    replies = ask_all(
        model, tokenizer, missing, style=settings.prompt, max_new_tokens=length, progress=progress, stored=stored
    )
    found = {
        s.key: ended(tokenizer, reply, length, partial(knows, s)) if knows(s, reply) else s.answer
        for s, reply in zip(missing, replies, strict=True)
    }
    return [replace(s, response=found[s.key]) if s.key in found else s for s in samples]


def answer_pairs(samples: Sequence[ForgetSample], tokenizer: Any, hparams: UnlearnHyperParams) -> list[tuple[str, str]]:
    replies = [(sample.question, sample.response or sample.answer, sample.answers) for sample in samples]
    if reads_facts(hparams):
        replies = [(asked, until_answer(reply, answers), answers) for asked, reply, answers in replies]
    return [(format_prompt(tokenizer, asked, hparams.unlearn.prompt), reply) for asked, reply, _ in replies]


def reads_facts(hparams: UnlearnHyperParams) -> bool:
    """True if the method trains on the fact within a reply (a key of all gradient baselines)."""
    return getattr(hparams, "answer_tokens", "all") == "fact"
