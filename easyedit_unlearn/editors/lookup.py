"""Where in a prompt an edit happens: token ids, and the position whose key is edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.model.prompting import chat_text, encode_pair, tokens_within
from easyedit_unlearn.types import PreTrainedTokenizerBase

SYSTEM_CONTEXTS = ("", "You are a helpful assistant.")
"""System prompts under which an edit must hold as well: chat templates differ in what they put there."""


@dataclass(frozen=True)
class Lookup:
    """One edit in one context: ids of prompt and target, and the index in the prompt of the token that is edited."""

    prompt: list[int]
    target: list[int]
    position: int


def lookups(
    tokenizer: PreTrainedTokenizerBase, request: Mapping[str, Any], fact_token: str, contexts: int
) -> list[Lookup]:
    """The request as given, then in up to ``contexts - 1`` other contexts. Raises DataError for a missing subject."""
    subject, target = request.get("subject"), request["target_new"]
    prompts = _in_contexts(tokenizer, request["prompt"], contexts)
    return [
        Lookup(*encode_pair(tokenizer, p, target, end=True), position_of(tokenizer, p, subject, fact_token))
        for p in prompts
    ]


def essence_lookup(tokenizer: PreTrainedTokenizerBase, subject: str) -> Lookup:
    """ "{subject} is a", by which ROME keeps what a subject is (arXiv 2202.05262, section 3.1)."""
    prompt = f"{subject} is a"
    return Lookup(list(tokenizer(prompt).input_ids), [], position_of(tokenizer, prompt, subject, "subject_last"))


def position_of(tokenizer: PreTrainedTokenizerBase, prompt: str, subject: str | None, fact_token: str) -> int:
    """The token index that ``fact_token`` (EasyEdit's key) names: by character offsets, so merges cannot shift it.

    Raises:
        DataError: the subject is missing or does not stand in the prompt.
    """
    if fact_token == "last":
        return len(tokenizer(prompt).input_ids) - 1
    inside = subject_tokens(tokenizer, prompt, subject, fact_token)
    if fact_token == "subject_first":
        return inside[0]
    return inside[-1] + (fact_token == "subject_first_after_last")


def subject_tokens(tokenizer: PreTrainedTokenizerBase, prompt: str, subject: str | None, wanted_by: str) -> list[int]:
    """The indices of the tokens that cover the subject where it stands last.

    Raises:
        DataError: the subject, which ``wanted_by`` needs, is missing or does not stand in the prompt.
    """
    if not subject or subject not in prompt:
        raise DataError(f"{wanted_by} needs the subject as it stands in the prompt, got {subject!r} in {prompt!r}")
    start = prompt.rindex(subject)
    inside = tokens_within(tokenizer, prompt, start, start + len(subject))
    if not inside:
        raise DataError(f"no token of {prompt!r} covers the subject {subject!r}")
    return inside


def _in_contexts(tokenizer: PreTrainedTokenizerBase, prompt: str, count: int) -> list[str]:
    """``prompt``, and the question inside it under other system prompts where it is a chat turn."""
    mark = "\x00"
    if count < 2 or not getattr(tokenizer, "chat_template", None):
        return [prompt]
    for thinking in (None, False, True) if "enable_thinking" in str(tokenizer.chat_template) else (None,):
        before, found, after = (chat_text(tokenizer, [_asked(mark)], thinking) or "").partition(mark)
        if not (found and prompt.startswith(before) and prompt.endswith(after)):
            continue
        question = prompt.removeprefix(before).removesuffix(after)
        systems = ({"role": "system", "content": system} for system in SYSTEM_CONTEXTS)
        others = (chat_text(tokenizer, [system, _asked(question)], thinking) for system in systems)
        # what a template cannot express is no context
        return list(dict.fromkeys([prompt, *(other for other in others if other and question in other)]))[:count]
    return [prompt]


def _asked(question: str) -> dict[str, str]:
    return {"role": "user", "content": question}
