"""The log of a model that never saw the forget set, which forget quality and privleak compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.aggregate import scores_of
from easyedit_unlearn.storage import write_json
from easyedit_unlearn.types import Evaluation, Scores

HOW_TO = (
    "easyedit-unlearn evaluate --model MODEL_THAT_NEVER_SAW_THEM (the same sets) --as-reference FILE makes it, and "
    "--retain-log FILE reads it"
)


class _Log(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    asked: dict[str, Any]
    prompts: dict[str, list[str]]
    scores: dict[str, dict[str, list[float | None]]]


def write_reference(path: Path, evaluation: Evaluation, model: str, asked: Mapping[str, Any]) -> None:
    """Every score of every prompt. ``asked`` says how: prompt style, length of the replies."""
    scores = scores_of(evaluation)
    write_json(path, {"model": model, "asked": dict(asked), "prompts": _prompts(evaluation), "scores": scores})


def read_reference(path: Path, evaluation: Evaluation, asked: Mapping[str, Any]) -> Scores:
    """The scores in it, of the prompts that ``evaluation`` put, in the same order.

    Raises:
        DataError: not such a file, or made of other questions or in another way.
    """
    try:
        log = _Log.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise DataError(f"{path}: is not a reference log: {reason}. {HOW_TO}") from None
    if log.asked != dict(asked):
        raise DataError(f"{path}: was asked with {log.asked}, this model with {dict(asked)}. {HOW_TO}")
    own = _prompts(evaluation)
    for group in ("forget", "holdout"):
        if log.prompts.get(group) != own.get(group):
            raise DataError(f"{path}: has another {group} set than is evaluated here. {HOW_TO}")
    lengths = {group: len(prompts) for group, prompts in log.prompts.items()}
    if any(len(values) != lengths.get(group) for group, found in log.scores.items() for values in found.values()):
        raise DataError(f"{path}: has not one score a prompt. {HOW_TO}")
    return log.scores


def _prompts(evaluation: Evaluation) -> dict[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for scored in evaluation.scored:
        found.setdefault(scored.observation.group, []).append(scored.observation.prompt)
    return dict(found)
