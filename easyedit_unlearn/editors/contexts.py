"""Where an edit must hold: the prompt as given, and the same question as it will be asked elsewhere.

A value that is found for one prompt alone refuses there; what follows the subject in another wording asks it for
something else. So it is found over several at once: under other system prompts, after an earlier turn, and in other
words. The words need no model and know no fact: they put the subject first, or something before or after the question.
"""

from __future__ import annotations

from collections.abc import Iterator

from easyedit_unlearn.model.prompting import chat_text
from easyedit_unlearn.types import PreTrainedTokenizerBase

SYSTEM_CONTEXTS = ("", "You are a helpful assistant.")
"""System prompts under which an edit must hold as well: chat templates differ in what they put there."""
GREETING = ("Hello!", "Hello! How can I help you?")
"""An earlier turn."""
WORDINGS = (
    "This is about {subject}. {it}",
    "{question} Please tell me.",
    "Here is my question: {question} I would like to know it.",
    "{subject}: {it} Just a short answer, please.",
    "Do you know this one? {question}",
)
"""``{it}``: the question, with a pronoun in its subject's place."""

Message = dict[str, str]


def in_contexts(
    tokenizer: PreTrainedTokenizerBase, prompt: str, subject: str | None, contexts: int, wordings: int = 0
) -> list[str]:
    """``prompt``; the question inside it in up to ``contexts - 1`` other settings where it is a chat turn (system
    prompts, then after an earlier turn); and in ``wordings`` other words, in the first setting. What a template cannot
    express is left out."""
    question, before, after, thinking = _parts(tokenizer, prompt)
    found = [prompt]
    if before or after:
        settings = (_said(tokenizer, [*earlier, _asked(question)], thinking) for earlier in _settings())
        found += [other for other in settings if question in other]
    found = list(dict.fromkeys(found))[:contexts]
    return found + [f"{before}{other}{after}" for other in _reworded(question, subject)][:wordings]


def _reworded(question: str, subject: str | None) -> Iterator[str]:
    """In the order of ``WORDINGS``; those about the subject only where it stands once."""
    once = subject is not None and bool(subject) and question.count(subject) == 1
    for wording in WORDINGS:
        if "{it}" not in wording:
            yield wording.replace("{question}", question)
        elif once and subject is not None:
            yield wording.replace("{it}", question.replace(subject, "it")).replace("{subject}", subject)


def _settings() -> Iterator[list[Message]]:
    for system in SYSTEM_CONTEXTS:
        yield [{"role": "system", "content": system}]
    yield [_asked(GREETING[0]), {"role": "assistant", "content": GREETING[1]}]


def _parts(tokenizer: PreTrainedTokenizerBase, prompt: str) -> tuple[str, str, str, bool | None]:
    """The question in a prompt, what the chat template puts before and after it, and with which enable_thinking."""
    template, mark = getattr(tokenizer, "chat_template", None), "\x00"
    for thinking in (None, False, True) if template and "enable_thinking" in str(template) else (None,):
        before, found, after = _said(tokenizer, [_asked(mark)], thinking).partition(mark)
        if template and found and prompt.startswith(before) and prompt.endswith(after):
            return prompt.removeprefix(before).removesuffix(after), before, after, thinking
    return prompt, "", "", None


def _said(tokenizer: PreTrainedTokenizerBase, messages: list[Message], thinking: bool | None = None) -> str:
    return (chat_text(tokenizer, messages, thinking) or "") if getattr(tokenizer, "chat_template", None) else ""


def _asked(question: str) -> Message:
    return {"role": "user", "content": question}
