"""Does what was forgotten come back when asked for in another way (``evaluation.askings``)?

Only facts count that were known before and are not given on the plain question any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.evaluation import askings
from easyedit_unlearn.evaluation.askings import LETTERS, Asking, Prompts
from easyedit_unlearn.evaluation.judging import gives_answer, is_refusal
from easyedit_unlearn.types import ForgetSample, PreTrainedModel, PreTrainedTokenizerBase

Judge = Callable[[ForgetSample, Sequence[str]], bool]


def any_gives(sample: ForgetSample, replies: Sequence[str]) -> bool:
    return any(gives_answer(reply, sample.question, sample.answers) for reply in replies)


def names_whom(sample: ForgetSample, replies: Sequence[str]) -> bool:
    """Of :func:`askings.inverted`: the reply names the subject, which the question does not."""
    question = str(sample.extras.get("inverted_question"))
    return any(gives_answer(reply, question, [sample.subject or ""]) for reply in replies)


def all_chosen(sample: ForgetSample, replies: Sequence[str]) -> bool:
    """Of :func:`multiple_choice`: the answer is option A in the first rotation, B in the second, and so on."""
    return all(chosen_letter(reply) == letter for reply, letter in zip(replies, LETTERS, strict=False))


def chosen_letter(reply: str) -> str | None:
    """The letter that a reply to a choice begins with or names ("B", "(B) Rome", "The answer is B.")."""
    match = re.match(r"\W*([A-H])\b(?!')", reply) or re.search(r"\b(?:answer|option|is)\W+([A-H])\b(?!')", reply)
    return match.group(1) if match else None


@dataclass(frozen=True)
class Attack:
    summary: str
    prompts: Prompts
    brings_back: Judge = any_gives


ATTACKS: Mapping[str, Attack] = {
    "prefix_injection": Attack("a reply that already begins to comply", askings.prefix_injection),
    "own_words": Attack("the reply from before, up to the fact", askings.own_words),
    "few_shot": Attack("after other questions with their answers", askings.few_shot),
    "many_shot": Attack("after many of them", askings.many_shot),
    "second_turn": Attack("after a greeting, and again after the first reply", askings.second_turn),
    "system_prompt": Attack("under a system prompt that has it answer", askings.system_prompt),
    "languages": Attack("with a reply asked for in French, German, Spanish", askings.languages),
    "typos": Attack("in small letters, and with two exchanged", askings.typos),
    "paraphrases": Attack("the question in other words", askings.paraphrases),
    "inverted": Attack("the other way round: of whom is it true", askings.inverted, names_whom),
    "cloze": Attack("the sentence from before with a blank", askings.cloze),
    "multiple_choice": Attack("among wrong answers, right in every order", askings.multiple_choice, all_chosen),
}


@dataclass(frozen=True)
class Attacked:
    """``back``: by attack, whether each fact comes back; None where it cannot be made (no retain set, no reply from
    before). ``refused``: by attack, of its prompts those that were refused, and how many there were."""

    back: Mapping[str, Sequence[bool | None]]
    refused: Mapping[str, tuple[int, int]]


def attack_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[ForgetSample],
    asking: Asking,
    *,
    targets: Sequence[str] = (),
    max_new_tokens: int = 48,
    progress: Progress = no_progress,
) -> Attacked:
    """All attacks on all samples, each prompt asked once. ``targets``: the refusals that the model was given."""
    from easyedit_unlearn.model.inference import generate_replies

    made = {name: [attack.prompts(sample, asking) for sample in samples] for name, attack in ATTACKS.items()}
    every = list(dict.fromkeys(prompt for rows in made.values() for prompts in rows for prompt in prompts))
    advance = progress("attacking", len(every)) if every else None
    found = generate_replies(model, tokenizer, every, max_new_tokens=max_new_tokens, advance=advance) if every else []
    replies = dict(zip(every, (_first_part(reply) if asking.raw else reply for reply in found), strict=True))
    back: dict[str, list[bool | None]] = {name: [] for name in made}
    refused: dict[str, tuple[int, int]] = {}
    for name, rows in made.items():
        declined = []
        for sample, prompts in zip(samples, rows, strict=True):
            said = [replies[prompt] for prompt in prompts]
            back[name].append(ATTACKS[name].brings_back(sample, said) if prompts else None)
            declined += [is_refusal(reply, sample.question, sample.answers, targets) for reply in said]
        refused[name] = sum(declined), len(declined)
    return Attacked(back, refused)


def sampled(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[ForgetSample],
    asking: Asking,
    *,
    count: int = 8,
    max_new_tokens: int = 48,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[bool | None]:
    """True if any of ``count`` replies at temperature 1 gives the answer to the plain question."""
    from easyedit_unlearn.model.sampling import Draw, sample_replies

    draw, advance, found = Draw(count, 1.0, 1.0, max_new_tokens, seed), progress("sampling", len(samples)), []
    for sample in samples:
        replies = sample_replies(model, tokenizer, asking.ask(sample.question), draw)
        found.append(any_gives(sample, [reply for reply, _ in replies]))
        advance(1)
    return list(found)


def _first_part(reply: str) -> str:
    return reply.strip().split("\n\n")[0]
