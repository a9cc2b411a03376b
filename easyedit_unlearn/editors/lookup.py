"""Where in a prompt an edit happens: token ids, and the position whose key is edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.editors.contexts import in_contexts
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.model.prompting import encode_pair, tokens_within
from easyedit_unlearn.types import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Lookup:
    """One edit in one context: ids of prompt and target, and the index in the prompt of the token that is edited."""

    prompt: list[int]
    target: list[int]
    position: int


def lookups(
    tokenizer: PreTrainedTokenizerBase, request: Mapping[str, Any], fact_token: str, contexts: int, wordings: int = 0
) -> list[Lookup]:
    """The request as given, then in other contexts (:func:`contexts.in_contexts`). Raises DataError for a missing
    subject."""
    subject, target = request.get("subject"), request["target_new"]
    return [
        Lookup(*encode_pair(tokenizer, p, target, end=True), position_of(tokenizer, p, subject, fact_token))
        for p in in_contexts(tokenizer, request["prompt"], subject, contexts, wordings)
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
