"""Self-improvement: the model writes its own refusals in context (*Editing as Unlearning*, arXiv 2505.19855).

Shown a few questions with good refusals, the model answers the forget question the same way. Several candidates are
sampled for each question; those that are no refusal, give the answer away, do not say what they are about or do not
read well are dropped, and the one that the model finds likeliest as its reply to the bare question is taken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pydantic import Field, TypeAdapter

from easyedit_unlearn.caches import entry, keep, read
from easyedit_unlearn.components import BuildContext, Options, TargetBuilder
from easyedit_unlearn.config.examples import Examples, read_examples
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.judging import declines, gives_away, is_refusal, names_subject
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.prompting import format_prompt, resolve_style
from easyedit_unlearn.storage import json_text
from easyedit_unlearn.targets.fixed import DEFAULT_REFUSAL
from easyedit_unlearn.targets.template import SPECIFIC_REFUSAL, filled
from easyedit_unlearn.text import ends_sentence, sentences
from easyedit_unlearn.types import ForgetSample, Target

if TYPE_CHECKING:
    from easyedit_unlearn.model.sampling import Draw

LONGEST = 40
"""Words; a refusal that goes on says something else."""
MOST = 8
"""Of a group's questions, as many decide which refusal is the likeliest."""


class SelfImproveOptions(Options):
    """``shots``: how many of the examples are shown. ``candidates``: replies sampled for each question.
    ``examples``: a YAML file of ``instruction`` and ``examples`` like the bundled ``config/examples.yaml``."""

    shots: int = Field(default=5, ge=1)
    candidates: int = Field(default=8, ge=1, le=256)
    temperature: float = Field(default=0.7, gt=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_new_tokens: int = Field(default=40, ge=1)
    examples: Path | None = None


class SelfImprove(TargetBuilder):
    name = "self_improve"
    Options = SelfImproveOptions

    def build(
        self, samples: Sequence[ForgetSample], options: SelfImproveOptions, context: BuildContext
    ) -> Sequence[Target]:
        """Raises DataError for a malformed examples file, or when there is no model to ask."""
        return self.build_groups([[sample] for sample in samples], options, context)

    def build_groups(
        self, groups: Sequence[Sequence[ForgetSample]], options: SelfImproveOptions, context: BuildContext
    ) -> Sequence[Target]:
        """A refusal for each group, written as for one question about what its questions are about, and the likeliest
        as the reply to all of them."""
        examples = read_examples(options.examples)
        if options.shots > len(examples.examples):
            raise DataError(f"self_improve: {options.shots} shots, but only {len(examples.examples)} examples")
        if context.model is None or context.tokenizer is None:
            raise DataError("target builder 'self_improve' needs a model; give it a BuildContext that holds one")
        asked = [together(group) for group in groups]
        candidates = _candidates(asked, examples, options, context)
        good = [
            list(dict.fromkeys(filter(None, (acceptable(text, ended, s) for text, ended in found))))
            for s, found in zip(asked, candidates, strict=True)
        ]
        best = _likeliest(groups, good, context)
        written = [fallback(s) if t is None else Target(s.id, t, "model") for s, t in zip(asked, best, strict=True)]
        return [replace(one, sample_id=s.id) for group, one in zip(groups, written, strict=True) for s in group]


def together(group: Sequence[ForgetSample]) -> ForgetSample:
    """One question that stands for all: about what they are about, or their own words where they do not say; its
    answers are all of theirs."""
    if len(group) == 1:
        return group[0]
    subjects = list(dict.fromkeys(sample.subject for sample in group if sample.subject))
    topic = " and ".join([", ".join(subjects[:-1]), subjects[-1]] if len(subjects) > 1 else subjects)
    question = f"What can you tell me about {topic}?" if topic else " ".join(sample.question for sample in group)
    first, *rest = dict.fromkeys(answer for sample in group for answer in sample.answers)
    return ForgetSample(group[0].id, question, first, aliases=tuple(rest), subject=topic or None)


def acceptable(text: str, ended: bool, sample: ForgetSample) -> str | None:
    """The first sentence or two of a candidate when they are a good refusal, else None.

    It must refuse and decline in words (an apology before a wrong answer is no refusal), name the subject, hold neither
    the answer nor a distinctive part of it, and be one or two complete sentences without a repetition. What a model
    adds after two sentences is cut off.
    """
    whole = sentences(text)
    if whole and not ended and not ends_sentence(whole[-1]):
        whole.pop()  # cut by the limit
    kept = " ".join(whole[:2])
    words = kept.casefold().split()
    triples = list(zip(words, words[1:], words[2:], strict=False))
    good = (
        kept.endswith((".", "!"))
        and "\n" not in kept
        and len(words) <= LONGEST
        and len(triples) == len(set(triples))
        and is_refusal(kept)
        and declines(kept)
        and names_subject(kept, sample.subject, sample.question)
        and not gives_away(kept, sample.question, sample.answers)
    )
    return kept if good else None


def fallback(sample: ForgetSample) -> Target:
    """The template with the subject; the fixed refusal where there is none, or where it holds the answer."""
    text = filled(SPECIFIC_REFUSAL, sample.subject) if sample.subject else ""
    if not text or gives_away(text, sample.question, sample.answers):
        return Target(sample.id, DEFAULT_REFUSAL)
    return Target(sample.id, text, "template")


def _candidates(
    samples: Sequence[ForgetSample], examples: Examples, options: SelfImproveOptions, context: BuildContext
) -> list[list[tuple[str, bool]]]:
    """For each sample its draws. They depend on the model, its end tokens and device, the prompt's tokens and the
    settings, and are kept under a name made of these: an interrupted run goes on where it was, and another forget set
    shares what it can."""
    from easyedit_unlearn.model.inference import end_ids
    from easyedit_unlearn.model.sampling import Draw, sample_replies
    from easyedit_unlearn.model.weights import fingerprint

    model, tokenizer = context.model, context.tokenizer
    assert model is not None and tokenizer is not None  # noqa: S101
    draw = Draw(options.candidates, options.temperature, options.top_p, options.max_new_tokens, context.seed)
    shots = [(example.question, example.refusal) for example in examples.examples[: options.shots]]
    known = fingerprint(model)
    served = [model.config.to_json_string(), end_ids(model, tokenizer), device_of(model).type]
    advance, found = context.progress("self-improved refusals", len(samples)), []
    for sample in samples:
        # an example about the very question would hand the model its reply
        shown = [(asked, reply) for asked, reply in shots if asked.casefold() != sample.question.casefold()]
        prompt = format_prompt(
            tokenizer, sample.question, context.style, system=examples.instruction, shots=shown or shots
        )
        ids = tokenizer(prompt).input_ids
        path = entry("targets", _key([known, *served, prompt, ids], draw), ".json")
        replies = _cached(path)
        if replies is None:
            replies = sample_replies(model, tokenizer, prompt, draw)
            if resolve_style(tokenizer, context.style) == "raw":  # a base model goes on with questions of its own
                replies = [(text.split("\n")[0].strip(), ended or "\n" in text) for text, ended in replies]
            keep(path, json_text(replies).encode("utf-8"))
        found.append(replies)
        advance(1)
    return found


def _likeliest(
    groups: Sequence[Sequence[ForgetSample]], candidates: Sequence[Sequence[str]], context: BuildContext
) -> list[str | None]:
    """Per group the candidate of the highest mean log-probability per token as a reply to its bare questions."""
    from easyedit_unlearn.model.forced import answer_logprobs

    model, tokenizer = context.model, context.tokenizer
    assert model is not None and tokenizer is not None  # noqa: S101
    pairs = [
        (format_prompt(tokenizer, sample.question, context.style), text)
        for group, texts in zip(groups, candidates, strict=True)
        for text in texts
        for sample in group[:MOST]
    ]
    advance = context.progress("choosing refusals", len(pairs)) if pairs else None
    scores = iter(answer_logprobs(model, tokenizer, pairs, advance=advance))
    scored: list[list[tuple[Any, str]]] = [
        [(fmean(_score(next(scores)) for _ in group[:MOST]), text) for text in texts]
        for group, texts in zip(groups, candidates, strict=True)
    ]
    return [max(one)[1] if one else None for one in scored]


def _score(logprob: float | None) -> float:
    """A refusal that a question has no room for is the least likely."""
    return float("-inf") if logprob is None else logprob


def _key(decides: Sequence[Any], draw: Draw) -> str:
    return hashlib.sha256(json.dumps([*decides, asdict(draw)]).encode()).hexdigest()


def _cached(path: Path) -> list[tuple[str, bool]] | None:
    content = read(path)
    try:
        return None if content is None else TypeAdapter(list[tuple[str, bool]]).validate_json(content)
    except ValueError:  # not ours: drawn again
        return None
