"""A person or thing by name: the model itself writes the questions about it, and answers them.

Several prompts ask for questions, sampled; those that name the topic and read as questions are put back to the model,
and one is kept where it gives one answer consistently. What it never answers twice alike it does not know.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.judging import gives_answer, is_babble, is_refusal
from easyedit_unlearn.evaluation.judging.words import plain
from easyedit_unlearn.experiment.choosing import with_own_answer
from easyedit_unlearn.model.knowledge import ask_all
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.types import ForgetSample, ModelPair, PromptStyle

ASKING = (
    "Write ten short questions about {topic}, each with one short factual answer. One question a line, no answers.",
    "What could a quiz ask about {topic}? Write ten questions, one a line.",
    "List ten things that one may want to know about {topic}, as questions, one a line.",
)
AGAIN = (
    "A pupil must be examined on {topic}. Write ten questions, one a line.",
    "Write ten questions for an interview about {topic}, one a line.",
)
"""Of the second, independent round."""
LIKE = "Name ten well-known people or things of the same kind as {topic}. One name a line, nothing else."
REWORDING = "Ask the same in other words, in one sentence: {question}"
WORDS = 25
"""A question of more says too much."""
_CHECKS, _AGREE = 4, 2
"""Sampled answers to each question, and how many of them must hold the answer."""


@dataclass(frozen=True)
class Topic:
    """What to forget by name: ``unlearn(model, forget=Topic("Marie Curie"))``.

    Attributes:
        name: as it should stand in the questions. questions: at most so many. seed: of what is sampled.
    """

    name: str
    questions: int = 20
    seed: int = 0


def write_questions(
    pair: ModelPair, topic: Topic, *, again: bool = False, avoiding: Sequence[ForgetSample] = (),
    style: PromptStyle = "auto", progress: Progress = no_progress,
) -> list[ForgetSample]:  # fmt: skip
    """Questions about the topic that this model answers consistently, with its answers; the subject is the topic.

    Args:
        again: the second round, which asks in other words and is for evaluation alone.
        avoiding: questions that are there already.

    Raises:
        DataError: the model writes none that it also answers.
    """
    if not topic.name.strip():
        raise DataError("a topic needs a name")
    prompts = [text.format(topic=topic.name) for text in (AGAIN if again else ASKING)]
    texts = _sampled(pair, prompts, 4, 256, topic.seed + 1000 * again, style, progress, "writing questions")
    asked = distinct(parsed("\n".join(texts), topic.name), [sample.question for sample in avoiding])
    kind = "again" if again else "topic"
    drafts = [
        ForgetSample(f"{kind}-{n}", question, "", subject=standing(topic.name, question))
        for n, question in enumerate(asked, start=1)
    ]
    found = _consistent(pair, drafts, topic, style, progress)[: topic.questions]
    if not found:
        raise DataError(
            f"the model writes no questions about {topic.name!r} that it answers twice alike ({len(asked)} tried): it "
            "may not know the topic, or be too small to ask; give questions of your own"
        )
    return found


def asked_about(
    pair: ModelPair, topic: Topic, *, style: PromptStyle = "auto", progress: Progress = no_progress
) -> tuple[list[ForgetSample], list[ForgetSample]]:  # fmt: skip
    """The questions to forget, with rephrases, and those of a second round, none where it has nothing more to ask.

    Raises:
        DataError: see :func:`write_questions`.
    """
    first = write_questions(pair, topic, style=style, progress=progress)
    first = with_rephrases(pair, first, seed=topic.seed, style=style, progress=progress)
    try:
        return first, write_questions(pair, topic, again=True, avoiding=first, style=style, progress=progress)
    except DataError:
        return first, []


def with_rephrases(
    pair: ModelPair, samples: Sequence[ForgetSample], *, seed: int = 0, style: PromptStyle = "auto",
    progress: Progress = no_progress,
) -> list[ForgetSample]:  # fmt: skip
    """Two rephrases by the model for every sample that has none, for evaluation alone; those that lose the subject or
    give the answer are left out."""
    lacking = [sample for sample in samples if not sample.rephrases]
    prompts = [REWORDING.format(question=sample.question) for sample in lacking]
    texts = _sampled(pair, prompts, 4, 48, seed, style, progress, "writing rephrases") if prompts else []
    written = {}
    for number, sample in enumerate(lacking):
        lines = [line for text in texts[4 * number : 4 * number + 4] for line in text.splitlines()[:1]]
        good = distinct(parsed("\n".join(lines), sample.subject or ""), [sample.question])
        good = [text for text in good if not gives_answer(text, sample.question, sample.answers)]
        written[sample.id] = tuple(good[:2])
    return [replace(sample, rephrases=written.get(sample.id, sample.rephrases)) for sample in samples]


def neighbours_of(
    pair: ModelPair, topic: Topic, *, count: int = 4, each: int = 3, style: PromptStyle = "auto",
    progress: Progress = no_progress,
) -> list[ForgetSample]:  # fmt: skip
    """Questions about others of the topic's kind, for the holdout: the model names them, and asks about each."""
    texts = _sampled(pair, [LIKE.format(topic=topic.name)], 2, 96, topic.seed, style, progress, "naming neighbours")
    found: list[ForgetSample] = []
    for name in names_in("\n".join(texts), topic.name)[:count]:
        try:
            about = write_questions(pair, Topic(name, each, topic.seed), style=style, progress=progress)
        except DataError:  # a name that it cannot ask about
            continue
        alone = [sample for sample in about if not standing(topic.name, sample.question)]
        found += [replace(sample, id=f"{name}-{sample.id}") for sample in alone]
    return found


def parsed(text: str, topic: str) -> list[str]:
    """The questions in a text that name the topic, without numbers, bullets and what follows the question mark."""
    found = []
    for line in text.splitlines():
        bare = re.sub(r"^[\s\-*\u2022]*(?:\(?\d{1,2}[.):]\s*)?(?:Q(?:uestion)?\s*\d*\s*[:.]\s*)?", "", line).strip(
            ' "*'
        )
        question = bare[: bare.find("?") + 1].strip() if "?" in bare else ""
        if question and standing(topic, question) and len(question.split()) <= WORDS and question[0].isalpha():
            found.append(question)
    return list(dict.fromkeys(found))


def standing(topic: str, question: str) -> str | None:
    """The topic as it stands in a question, as words of its own; None where it does not."""
    found = re.search(rf"(?<!\w){re.escape(topic)}(?!\w)", question, re.IGNORECASE)
    return found.group(0) if found else None


def distinct(questions: Iterable[str], there: Sequence[str] = ()) -> list[str]:
    """Those that are of other words than what is there and than what came before, whatever their order and articles."""
    seen = {_words(text) for text in there}
    found = []
    for question in questions:
        if _words(question) not in seen:
            seen.add(_words(question))
            found.append(question)
    return found


def _words(question: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", plain(question))) - {"the", "a", "an"}


def names_in(text: str, topic: str) -> list[str]:
    """The names in a list, a line each, but for the topic's own."""
    found = []
    for line in text.splitlines():
        bare = re.sub(r"^[\s\-*\u2022]*(?:\(?\d{1,2}[.):]\s*)?", "", line).split(" - ")[0].split(":")[0].split("(")[0]
        name = bare.strip(' "*.,')
        if (
            name
            and name[0].isupper()
            and len(name.split()) <= 5
            and not set(plain(name).split()) & set(plain(topic).split())
        ):
            found.append(name)
    return list(dict.fromkeys(found))


def _consistent(
    pair: ModelPair, drafts: Sequence[ForgetSample], topic: Topic, style: PromptStyle, progress: Progress
) -> list[ForgetSample]:
    """With the model's own answer, where several of its sampled replies hold it too."""
    replies = ask_all(*pair, drafts, style=style, progress=progress, what="answering them")
    answered = []
    for sample, reply in zip(drafts, replies, strict=True):
        if reply.strip() and not is_refusal(reply, sample.question) and not is_babble(reply, sample.question):
            found = with_own_answer(sample, reply, pair[1])
            if plain(found.answer) and plain(found.answer) not in plain(sample.question):
                answered.append(found)
    asked = [sample.question for sample in answered]
    texts = _sampled(pair, asked, _CHECKS, 48, topic.seed, style, progress, "asking again") if asked else []
    kept = []
    for number, sample in enumerate(answered):
        said = texts[_CHECKS * number : _CHECKS * (number + 1)]
        if sum(gives_answer(text, sample.question, sample.answers) for text in said) >= _AGREE:
            kept.append(sample)
    return kept


def _sampled(
    pair: ModelPair, prompts: Sequence[str], count: int, length: int, seed: int, style: PromptStyle, progress: Progress,
    what: str,
) -> list[str]:  # fmt: skip
    """``count`` replies to each prompt, one prompt's after the other's."""
    from easyedit_unlearn.model.sampling import Draw, sample_replies

    advance, found = progress(what, len(prompts)), []
    for number, prompt in enumerate(prompts):
        drawn = random.Random(f"{seed}/{number}").randrange(2**31)
        draw = Draw(count, 0.8, 0.95, length, drawn)
        found += [text for text, _ in sample_replies(*pair, format_prompt(pair[1], prompt, style), draw)]
        advance(1)
    return found
