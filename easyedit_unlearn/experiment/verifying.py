"""Whether a checkpoint is the one that its record is of, and still answers as it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.experiment.record import UnlearningRecord, differences, judged, recorded_samples
from easyedit_unlearn.model.checkpoint import system_prompt_of
from easyedit_unlearn.model.knowledge import reply_to
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.types import ForgetSample


@dataclass(frozen=True)
class Verified:
    """What ``verify`` found.

    Attributes:
        changed: what of the checkpoint is not as it was recorded. known: facts that the model knew before, by the
            record. asked: of those, how many were asked again; the record names questions by their hashes alone.
        recorded, found: of those asked, how many replies gave the answer and how many declined, then and now.
        replies: of those that fare otherwise now, the question and the reply.
    """

    changed: list[str]
    known: int
    asked: int = 0
    recorded: tuple[int, int] = (0, 0)
    found: tuple[int, int] = (0, 0)
    replies: tuple[tuple[str, str], ...] = ()

    @property
    def holds(self) -> bool:
        return not self.changed and not self.replies


def verify(
    record: UnlearningRecord, folder: Path, samples: Iterable[ForgetSample] = (), *,
    where: Mapping[str, Any] | None = None, progress: Progress = no_progress,
) -> Verified:  # fmt: skip
    """Compare a checkpoint with its record, and ask what was to be forgotten again.

    Args:
        samples: the forget set, for a record that holds hashes; what it does not list is not asked.

    Raises:
        DataError: there is no checkpoint, or it cannot be read.
    """
    changed, known = differences(record, folder), sum(fact.known for fact in record.facts)
    pairs = recorded_samples(record, samples)
    if not pairs:
        return Verified(changed, known)
    model, tokenizer = load_model(str(folder), **(where or {}))
    system = system_prompt_of(folder)
    prompts = [format_prompt(tokenizer, sample.question, record.prompt, system=system) for _, sample in pairs]
    replies = reply_to(model, tokenizer, prompts, record.max_new_tokens, progress, "asking again")
    now = [judged(sample, reply) for (_, sample), reply in zip(pairs, replies, strict=True)]
    then = [(fact.given, fact.refused) for fact, _ in pairs]
    other = [
        (sample.question, reply)
        for (_, sample), reply, was, found in zip(pairs, replies, then, now, strict=True)
        if was != found
    ]
    return Verified(changed, known, len(pairs), _counts(then), _counts(now), tuple(other))


def _counts(judgements: Iterable[tuple[bool, bool]]) -> tuple[int, int]:
    given, refused = zip(*judgements, strict=True)
    return sum(given), sum(refused)
