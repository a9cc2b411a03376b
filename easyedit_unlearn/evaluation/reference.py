"""The log of a model that never saw the forget set, which forget quality and privleak compare with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.aggregate import scores_of
from easyedit_unlearn.evaluation.openunlearning import LARGEST, read_logs, scores_from
from easyedit_unlearn.evaluation.questions import published_answers
from easyedit_unlearn.storage import write_json
from easyedit_unlearn.types import Evaluation, Scores, Selection

COMPARED = ("forget", "holdout")
HOW_TO = (
    "easyedit-unlearn evaluate --model MODEL_THAT_NEVER_SAW_THEM --as-reference FILE, with the same sets, makes it, "
    "and --retain-log FILE reads it. Take the splits all or firstN: forgetN and holdout depend on what a model knows"
)


class Log(BaseModel):
    """``asked``: how (prompt style, length of the replies). ``facts``: by group a digest of questions and answers.
    ``theirs``: True of one of open-unlearning's, which has neither."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    asked: dict[str, Any]
    facts: dict[str, str]
    scores: dict[str, dict[str, list[float | None]]]
    theirs: bool = False


def write_log(path: Path, evaluation: Evaluation, selection: Selection, model: str, asked: Mapping[str, Any]) -> None:
    """Every score of every prompt."""
    log = Log(model=model, asked=dict(asked), facts=_digests(selection), scores=_as_lists(scores_of(evaluation)))
    write_json(path, log.model_dump())


def read_log(path: Path) -> Log:
    """One of ours, or of open-unlearning's, which does not say what was asked and of what. Raises DataError: there is
    no such file, or it is something else."""
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path}: is too large for a reference log. {HOW_TO}")
        found = path.read_bytes()
        if b'"agg_value"' in found:
            scores = _as_lists(scores_from(read_logs(path)))
            return Log(model="open-unlearning", asked={}, facts={}, scores=scores, theirs=True)
        return Log.model_validate_json(found)
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise DataError(f"{path}: is not a reference log: {reason}. {HOW_TO}") from None


def matching_scores(path: Path, selection: Selection, asked: Mapping[str, Any]) -> Scores:
    """The log's scores, of the very facts of ``selection``, asked in the same way; of one of open-unlearning's only
    their number can be told.

    Raises:
        DataError: of others, or asked differently; or not a log.
    """
    log, own = read_log(path), _digests(selection)
    if log.theirs and not asked["score_end"]:
        raise DataError(f"{path}: open-unlearning scores the end of an answer; leave out --no-score-end")
    if not log.theirs and log.asked != dict(asked):
        raise DataError(f"{path}: was asked with {log.asked}, this model with {dict(asked)}. {HOW_TO}")
    here = selection.groups()
    for group in COMPARED if not log.theirs else [group for group in COMPARED if here.get(group)]:
        if not log.theirs and log.facts.get(group) != own.get(group):
            raise DataError(f"{path}: has another {group} set than is evaluated here. {HOW_TO}")
        counts = {len(values) for values in log.scores.get(group, {}).values()}
        if counts - {len(here[group])}:
            raise DataError(f"{path}: has not one score a prompt of the {group} set. {HOW_TO}")
    return log.scores


def _digests(selection: Selection) -> dict[str, str]:
    return {
        group: hashlib.sha256(json.dumps([[s.question, *published_answers(s)] for s in samples]).encode()).hexdigest()
        for group, samples in selection.groups().items()
        if samples
    }


def _as_lists(scores: Scores) -> dict[str, dict[str, list[float | None]]]:
    return {group: {name: list(values) for name, values in found.items()} for group, found in scores.items()}
