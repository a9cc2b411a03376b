"""What a call of ``unlearn`` leaves open: the answers to forget, the method, its settings, what to keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from easyedit_unlearn.errors import DataError, UnknownNameError
from easyedit_unlearn.evaluation.judging import is_refusal
from easyedit_unlearn.model.knowledge import REPLY, ask_all, ended
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.tasks.fields import is_record
from easyedit_unlearn.tasks.given import GivenSamples
from easyedit_unlearn.tasks.records import check_samples, sample_of
from easyedit_unlearn.tasks.splits import Source, parse_source
from easyedit_unlearn.tasks.subjects import CAPITALS
from easyedit_unlearn.text import sentences
from easyedit_unlearn.types import ForgetSample, ModelPair, PreTrainedTokenizerBase

Samples = str | Mapping[str, str] | Sequence[str | tuple[str, str] | Mapping[str, Any] | ForgetSample]
"""A task or file, as the command line names them; a mapping of questions to answers; or questions, (question, answer)
pairs and records."""
FEW = 40
"""Up to so many facts an editor is chosen: no more were measured (docs, results of the two recipes)."""
COPIES = 2
"""Of what is trained, to put back from."""
_NUMBER = re.compile(r"(?<![\w.,])\d[\d.,]*\d|\b\d\b")


def source_of(named: Samples, model: ModelPair, plugins: Plugins, name: str) -> Source:
    """The source that a call names; a question alone has the model's own answer.

    Raises:
        DataError: nothing is given, a record is malformed, or the model refuses a question that has no answer.
        UnknownNameError: neither a task nor a file; a single question belongs in a list.
    """
    if isinstance(named, str):
        if named.rstrip().endswith("?"):
            raise DataError(f"{name}: a question belongs in a list: {name}=[{named!r}]")
        try:
            return parse_source(named, plugins.tasks)
        except UnknownNameError as error:
            raise UnknownNameError(f"{error} A person or thing by name is Topic({named!r})") from None
    if isinstance(named, Mapping):
        named = [named] if is_record(named) else list(named.items())
    if not isinstance(named, Iterable):
        raise DataError(
            f"{name}: give questions, (question, answer) pairs, records, a mapping, or a task or file by name; got "
            f"{type(named).__name__}"
        )
    samples = [_sample(one, f"{name}-{number}") for number, one in enumerate(named, start=1)]
    asked = [sample for sample in samples if not sample.answer]
    replies = dict(zip((s.id for s in asked), ask_all(*model, asked), strict=True))
    samples = [_answered(one, replies[one.id], model[1]) if one.id in replies else one for one in samples]
    check_samples(samples, [f"{name}, {sample.id}" for sample in samples], name)
    return GivenSamples.source(samples)


def own_answer(question: str, reply: str) -> str:
    """What in a model's reply is the answer: in its first sentence that holds one, the first name that the question
    does not hold and that is no word a reply begins with, else the first number; else the first sentence."""
    said = sentences(reply) or [reply]
    known = set(re.findall(r"\w+", question.casefold())) | _FILLERS
    for sentence in said:
        for pattern in (CAPITALS, _NUMBER):
            for match in pattern.finditer(_LEADING.sub("", sentence)):
                named = _OPENED.sub("", match.group(0))
                words = re.findall(r"\w+", named.casefold())
                if words and not known.intersection(words):
                    return named
    return said[0].rstrip(".!? ")


def chosen_method(count: int, free_bytes: int, weights_bytes: int, training_bytes: int) -> tuple[str, str]:
    """The method for so many facts in so much memory, and why.

    Args:
        free_bytes: of the device the model is on. weights_bytes: of the model's parameters, which are loaded already.
        training_bytes: what training all of them takes beside them.
    """
    if count <= FEW and free_bytes >= weights_bytes:
        return "AlphaEdit", (
            f"AlphaEdit: {count} facts are no more than editing was measured with ({FEW}), and of the editors that "
            "change weights it kept most neighbours there"
        )
    if count > FEW and free_bytes >= training_bytes + COPIES * weights_bytes:
        return (
            "NPO",
            f"NPO: {count} facts are more than editing was measured with ({FEW}), and there is memory to train",
        )
    return "ICR", (
        f"ICR: {free_bytes / 1e9:.1f} GB are free beside {weights_bytes / 1e9:.1f} GB of weights, too little to edit "
        "or train; it tells the model in its prompt what not to say"
    )


def off_topic(samples: Iterable[ForgetSample], forget: Sequence[ForgetSample]) -> list[ForgetSample]:
    """Those that share no name, and no answer, with what is to be forgotten."""
    topic = {word for sample in forget for word in _names(sample)}
    asked = {sample.key for sample in forget}
    return [sample for sample in samples if sample.key not in asked and not topic & _names(sample)]


def nearest_first(samples: Iterable[ForgetSample], forget: Sequence[ForgetSample]) -> list[ForgetSample]:
    """By the share of words that a question has in common with the likest one to be forgotten."""
    asked = [_words(sample.question) for sample in forget]

    def likeness(sample: ForgetSample) -> float:
        own = _words(sample.question)
        return max((len(own & other) / len(own | other) for other in asked), default=0.0)

    return sorted(samples, key=likeness, reverse=True)


_OPENERS = "the a an it in on at he she they this that yes his her its as of".split()
_LEADING = re.compile(rf"\A(?:{'|'.join(_OPENERS)})\b\s*", re.IGNORECASE)
"""A word at the beginning of a sentence that has a capital only there."""
_FILLERS = frozenset(
    "i im ive id ill m ve d ll sure as ai yes no well ok okay absolutely certainly actually great good sorry thanks "
    "based according here there my you your we our to let unfortunately hello hi".split()
)
"""Words with capitals that replies begin with, and that answer nothing."""
_OPENED = re.compile(rf"\A(?:(?:{'|'.join(sorted(_FILLERS))})(?:['\u2019]\w+)?\b\W*)+", re.IGNORECASE)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _names(sample: ForgetSample) -> set[str]:
    """Words with capitals or digits in the question (but for its first), the subject and the answers."""
    texts = [sample.question.split(maxsplit=1)[-1], sample.subject or "", *sample.answers]
    return {word.casefold() for text in texts for word in re.findall(r"[^\W_]+", text) if not word.islower()}


def _sample(one: Any, fallback: str) -> ForgetSample:
    """An answer that is to be asked of the model is empty here."""
    if isinstance(one, ForgetSample):
        return one
    if isinstance(one, str):
        return ForgetSample(fallback, one, "")
    if isinstance(one, Mapping):
        return sample_of(one, fallback)
    if isinstance(one, Sequence) and len(one) == 2 and all(isinstance(text, str) for text in one):
        return ForgetSample(fallback, one[0], one[1])
    raise DataError(f"{fallback}: give a question, a (question, answer) pair or a record, not {type(one).__name__}")


def _answered(sample: ForgetSample, reply: str, tokenizer: PreTrainedTokenizerBase) -> ForgetSample:
    if not reply.strip() or is_refusal(reply):
        raise DataError(
            f"the model already declines {sample.question!r} ({reply.strip()!r}): there is nothing to forget, or give "
            "the answer: (question, answer)"
        )
    return with_own_answer(sample, reply, tokenizer)


def with_own_answer(sample: ForgetSample, reply: str, tokenizer: PreTrainedTokenizerBase) -> ForgetSample:
    """With what a model's reply of at most ``REPLY`` tokens answers, and that reply."""
    answer = own_answer(sample.question, reply)
    return replace(sample, answer=answer, response=ended(tokenizer, reply, REPLY, lambda text: answer in text))
