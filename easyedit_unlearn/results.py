"""What ``results.json`` holds: rows of the table, records of single prompts, and what made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict, cast


class Row(TypedDict, total=False):
    """One model state. Beside these, a number ``{group}_{metric}`` for each metric on the known facts of forget,
    rephrase, retain and holdout (see :func:`measure`), None where it is undefined.

    Attributes:
        label: the method, and what of its recipe is not the default. refusals: the quality of the targets it was given.
        intervals: 95 % ones, by number. means, overall, change: over all samples, known before or not.
        replies: the same measures of what the model says to the forget set.
        reliability, generality, locality, portability: EasyEdit's. probes: what brings facts back.
        abilities: what lm-evaluation-harness measured, by task and metric.
        attainment: of the change that an editor promised, the smallest share that came about; None for other methods.
        subjects: by question, what it is about, where that was found by cause.
        advice: what to do where most of the facts are still given.
        stopped: why there are no numbers. setting, family, size, hparams, seeds, spread: of a bench.
    """

    method: str
    label: str
    host: str
    engine: str
    mode: str
    target: str
    merge: str
    seed: int
    model: str
    n_requests: int
    n_forget: int
    n_known: int
    n_retain: int
    n_holdout: int
    refusals: dict[str, Any] | None
    replies: dict[str, Any] | None
    balance: float | None
    intervals: dict[str, list[float]]
    means: dict[str, dict[str, dict[str, Any]]]
    overall: dict[str, float | None]
    change: dict[str, Any] | None
    ppl_before: float | None
    ppl_after: float | None
    reliability: float | None
    generality: float | None
    locality: float | None
    portability: float | None
    seconds: float | None
    peak_memory_mb: float | None
    versions: dict[str, str]
    probes: dict[str, Any]
    abilities: Mapping[str, Any]
    stopped: str
    attainment: float | None
    subjects: dict[str, str]
    advice: str
    setting: str
    family: str
    size: int
    hparams: str
    seeds: list[int]
    spread: dict[str, float]


class Record(TypedDict, total=False):
    """One prompt: what was asked, the target and who wrote it, the reply before and after, and the scores of both."""

    method: str
    group: str
    id: str
    known: bool
    question: str
    answer: str
    aliases: list[str]
    target: str | None
    target_origin: str | None
    before: str | None
    after: str
    scores_before: dict[str, float | None] | None
    scores_after: dict[str, float | None]
    setting: str


def measure(row: Row, key: str) -> Any:
    """The value of a column whose key is not known beforehand; None where the row has none."""
    return cast(Mapping[str, Any], row).get(key)


def row_of(*parts: Mapping[str, Any]) -> Row:
    """One row of several; later ones win."""
    return cast(Row, {key: value for part in parts for key, value in part.items()})


UNDESCRIBED: Row = {
    "method": "-", "label": "-", "host": "-", "engine": "-", "mode": "-", "target": "-", "merge": "-", "seed": 0,
    "n_requests": 0, "refusals": None, "attainment": None,
}  # fmt: skip
"""What tells rows apart; a model as it stands has none of it."""


@dataclass
class Results:
    """The untouched model as a row, a row a method, a record a prompt. ``status`` is running, complete, failed or
    interrupted; ``date`` the day of the run (ISO 8601)."""

    before: Row | None = None
    rows: list[Row] = field(default_factory=list)
    samples: list[Record] = field(default_factory=list)
    status: str = "running"
    message: str = ""
    command: str = ""
    hparams: dict[str, Any] = field(default_factory=dict)
    date: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
