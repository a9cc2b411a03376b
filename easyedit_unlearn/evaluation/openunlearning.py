"""open-unlearning's evaluation logs (``TOFU_EVAL.json``: by metric an aggregate, and a value by sample), both ways.

Theirs is a metric with the set in its name, ours a score of a sample in a group; membership scores have the other sign
there (higher is less likely to have been trained on), and a sample has a number where ours has a name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.types import Evaluation, ForgetSample, Observation, Scored, Scores

LARGEST = 2**30
"""Bytes of a log that are read; theirs of TOFU have some ten million."""
GROUPS = {"forget": "forget", "retain": "retain", "ra": "real_authors", "wf": "world_facts"}
Logs = Mapping[str, Mapping[str, Any]]


class Field(NamedTuple):
    """Where one of our scores stands in a metric of theirs, and with which sign."""

    ours: str
    metric: str
    field: str
    sign: int = 1


_EACH = (
    Field("answer_prob", "{}_Q_A_Prob", "prob"),
    Field("mia_loss", "{}_Q_A_Prob", "avg_loss", -1),
    Field("prob_normalised", "{}_Q_A_Prob_normalised", "prob"),
    Field("rougeL", "{}_Q_A_ROUGE", "rougeL_recall"),
    Field("rouge1", "{}_Q_A_ROUGE", "rouge1_recall"),
    Field("truth_ratio", "{}_Truth_Ratio", "score"),
)
_FORGET = (
    Field("truth_ratio", "forget_truth_ratio", "score"),
    Field("extraction_strength", "extraction_strength", "score"),
    Field("exact_memorization", "exact_memorization", "score"),
)
_MEMBERSHIP = {
    "mia_loss": "mia_loss", "mia_zlib": "mia_zlib", "mia_min_k": "mia_min_k", "mia_min_k_plus_plus": "mia_min_k++",
    "mia_gradnorm": "mia_gradnorm",
}  # fmt: skip
OVERALL = ("forget_quality", "model_utility", "privleak")
"""What they aggregate and we do too, under one name."""


def read_logs(path: Path) -> Logs:
    """Raises DataError: there is no such file, or it is something else."""
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path}: has more than {LARGEST >> 20} MB; this is no evaluation log")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {str(error).splitlines()[0]}") from None
    if not is_logs(found):
        raise DataError(
            f"{path}: is no log of open-unlearning's, which holds for each metric an 'agg_value' (TOFU_EVAL.json; the "
            "summary has no samples)"
        )
    return {name: value for name, value in found.items() if isinstance(value, Mapping)}


def is_logs(found: Any) -> bool:
    return isinstance(found, Mapping) and any(isinstance(v, Mapping) and "agg_value" in v for v in found.values())


def scores_in(logs: Logs) -> Scores:
    """By group and metric, a score a sample, in the order of their numbers; only what is there."""
    found: dict[str, dict[str, list[float | None]]] = {}

    def read(metric: Any, group: str, ours: str, field: str, sign: int) -> None:
        values = [_number(one.get(field), sign) for one in _rows(metric)]
        if any(value is not None for value in values):
            found.setdefault(group, {})[ours] = values

    for theirs, group in GROUPS.items():
        for field in (*_EACH, *(_FORGET if group == "forget" else ())):
            read(logs.get(field.metric.format(theirs)), group, field.ours, field.field, field.sign)
    for theirs, ours in _MEMBERSHIP.items():
        for group in ("forget", "holdout"):
            read((logs.get(theirs) or {}).get(group), group, ours, "score", -1)
    return found


def evaluation_of(logs: Logs, judge: Callable[[Observation], Mapping[str, float | None]]) -> Evaluation:
    """A scored observation a sample. Where replies were logged (ROUGE's), ``judge`` adds what it makes of them."""
    every = scores_in(logs)
    scored = []
    for group, columns in every.items():
        texts = _texts(logs, group)
        for number in range(max(map(len, columns.values()))):
            own = {name: values[number] if number < len(values) else None for name, values in columns.items()}
            question, answer, said = texts[number] if number < len(texts) else ("", "", None)
            sample = ForgetSample(f"{group}-{number}", question or f"{group} {number}", answer or "-")
            seen = Observation(sample, group, sample.question, said or "")
            scored.append(Scored(seen, {**(judge(seen) if said is not None else {}), **own}))
    return Evaluation(scored, float("nan"))


def overall_in(logs: Logs) -> dict[str, float | None]:
    """What they aggregated over sets, under our names."""
    found = {name: _number((logs.get(name) or {}).get("agg_value")) for name in OVERALL if name in logs}
    for theirs, ours in _MEMBERSHIP.items():
        if theirs in logs:
            found[f"{ours}_auc"] = _number(logs[theirs].get("agg_value"))
    return found


def logs_of(records: Sequence[Mapping[str, Any]], overall: Mapping[str, float | None]) -> dict[str, Any]:
    """Of our records of one model state (``results.json``), what open-unlearning would have logged of them; a metric
    that lacks a value for any sample is left out."""
    logs: dict[str, Any] = {}
    for theirs, group in GROUPS.items():
        mine = [record for record in records if record["group"] == group]
        for field in (*_EACH, *(_FORGET if group == "forget" else ())):
            _write(logs, field.metric.format(theirs), field, mine)
        rouge = logs.get(f"{theirs}_Q_A_ROUGE")
        for number, record in enumerate(mine if rouge else ()):
            said = {"input": record["question"], "ground_truth": record["answer"], "generation": record["after"]}
            rouge["value_by_index"][str(number)] |= said  # type: ignore[index]
    for theirs, ours in _MEMBERSHIP.items():
        sets: dict[str, Any] = {}
        for group in ("forget", "holdout"):
            _write(sets, group, Field(ours, group, "score", -1), [r for r in records if r["group"] == group])
        if len(sets) == 2:
            logs[theirs] = {**sets, "auc": overall.get(f"{ours}_auc"), "agg_value": overall.get(f"{ours}_auc")}
    for name in OVERALL:
        if overall.get(name) is not None:
            logs[name] = {"agg_value": overall[name]}
    if "forget_truth_ratio" in logs:
        logs["forget_truth_ratio"]["agg_value"] = overall.get("forget_truth_ratio")
    return logs


def _write(logs: dict[str, Any], name: str, field: Field, records: Iterable[Mapping[str, Any]]) -> None:
    values = [record["scores_after"].get(field.ours) for record in records]
    if not values or None in values:
        return
    metric = logs.setdefault(name, {"agg_value": None, "value_by_index": {str(n): {} for n in range(len(values))}})
    for number, value in enumerate(values):
        metric["value_by_index"][str(number)][field.field] = field.sign * value
    if field.field != "avg_loss" and metric["agg_value"] is None:
        metric["agg_value"] = field.sign * sum(values) / len(values)


def _texts(logs: Logs, group: str) -> list[tuple[str, str, str | None]]:
    theirs = next((short for short, name in GROUPS.items() if name == group), group)
    rows = _rows(logs.get(f"{theirs}_Q_A_ROUGE"))
    return [
        (
            _text(one.get("input")),
            _text(one.get("ground_truth")),
            _text(one["generation"]) if "generation" in one else None,
        )
        for one in rows
    ]


def _rows(metric: Any) -> list[Mapping[str, Any]]:
    """A metric's values in the order of their numbers."""
    values = metric.get("value_by_index") if isinstance(metric, Mapping) else None
    if not isinstance(values, Mapping):
        return []
    if not all(isinstance(key, str) and key.isdigit() for key in values):
        raise DataError("a log of open-unlearning's numbers its samples; this one names them otherwise")
    return [one if isinstance(one, Mapping) else {} for _, one in sorted(values.items(), key=lambda kv: int(kv[0]))]


def _number(value: Any, sign: int = 1) -> float | None:
    """None for what is no number, and for several (a value for each of some answers)."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124  NaN
    return sign * float(value) if fine else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
