"""open-unlearning's evaluation logs (``TOFU_EVAL.json``: by metric an aggregate, and a value by sample), both ways.

Theirs is a metric with the set in its name, ours a score of a sample in a group; membership scores have the other sign
there (higher is less likely to have been trained on), and a sample has a number where ours has a name. Their gradient
norm is a mean over parameters, ours one norm over all: it is left alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.formulas import truth_ratio_closeness, truth_ratio_utility
from easyedit_unlearn.types import Evaluation, ForgetSample, Observation, Scored, Scores

LARGEST = 2**30
"""Bytes of a log that are read; theirs of TOFU have some ten million."""
GROUPS = {"forget": "forget", "retain": "retain", "ra": "real_authors", "wf": "world_facts"}
"""Their short names of sets, and ours of groups."""
Logs = Mapping[str, Mapping[str, Any]]


class Place(NamedTuple):
    """Where one of our scores stands in a metric of theirs, with which sign, and what they aggregate there."""

    ours: str
    metric: str
    field: str
    sign: int = 1
    aggregate: Callable[[Sequence[float]], float] | None = fmean


_KEPT = Place("truth_ratio", "{}_Truth_Ratio", "score", 1, truth_ratio_utility)
_EACH = (
    Place("answer_prob", "{}_Q_A_Prob", "prob"),
    Place("mia_loss", "{}_Q_A_Prob", "avg_loss", -1, None),
    Place("prob_normalised", "{}_Q_A_Prob_normalised", "prob"),
    Place("rougeL", "{}_Q_A_ROUGE", "rougeL_recall"),
    Place("rouge1", "{}_Q_A_ROUGE", "rouge1_recall", 1, None),
)
_PLACES = {
    "forget": (
        *_EACH,
        Place("truth_ratio", "forget_truth_ratio", "score", 1, truth_ratio_closeness),
        Place("extraction_strength", "extraction_strength", "score"),
        Place("exact_memorization", "exact_memorization", "score"),
    ),
    **dict.fromkeys(("retain", "ra", "wf"), (*_EACH, _KEPT)),
}
"""By their set, and ours of the same name in ``GROUPS``."""
_MEMBERSHIP = {
    "mia_loss": "mia_loss", "mia_zlib": "mia_zlib", "mia_min_k": "mia_min_k", "mia_min_k_plus_plus": "mia_min_k++",
}  # fmt: skip
OVERALL = ("forget_quality", "model_utility", "privleak", "forget_truth_ratio")
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


def scores_from(logs: Logs) -> Scores:
    """By group and metric, a score a sample, in the order of their numbers, None where a metric lacks one."""
    return {
        group: {ours: [values.get(number) for number in _numbers(columns)] for ours, values in columns.items()}
        for group, columns in _by_number(logs).items()
    }


def evaluation_from(logs: Logs, judge: Callable[[Observation], Mapping[str, float | None]]) -> Evaluation:
    """A scored observation a sample. Where its reply was logged (with ROUGE), ``judge`` adds what it makes of it."""
    short = {group: theirs for theirs, group in GROUPS.items()}
    scored = []
    for group, columns in _by_number(logs).items():
        said = _rows(logs.get(f"{short.get(group)}_Q_A_ROUGE"))
        for number in _numbers(columns):
            one = said.get(number, {})
            question, answer = _text(one.get("input")) or f"{group} {number}", _text(one.get("ground_truth")) or "-"
            seen = Observation(
                ForgetSample(f"{group}-{number}", question, answer), group, question, _text(one.get("generation"))
            )
            own = {name: values.get(number) for name, values in columns.items()}
            scored.append(Scored(seen, {**(judge(seen) if "generation" in one else {}), **own}))
    return Evaluation(scored, float("nan"))


def overall_from(logs: Logs) -> dict[str, float | None]:
    """What they aggregated over sets, under our names."""
    found = {name: _number((logs.get(name) or {}).get("agg_value")) for name in OVERALL if name in logs}
    for theirs, ours in _MEMBERSHIP.items():
        if theirs in logs:
            found[f"{ours}_auc"] = _number(logs[theirs].get("agg_value"))
    return found


def logs_to(records: Sequence[Mapping[str, Any]], overall: Mapping[str, float | None]) -> dict[str, Any]:
    """Of our records of one model state (``results.json``), what open-unlearning would have logged of them; a metric
    that lacks a value for any sample is left out."""
    logs: dict[str, Any] = {}
    groups = {
        group: [record for record in records if record["group"] == group] for group in (*GROUPS.values(), "holdout")
    }
    for theirs, places in _PLACES.items():
        mine = groups[GROUPS[theirs]]
        for place in places:
            _write(logs, place.metric.format(theirs), place, mine)
        rouge = logs.get(f"{theirs}_Q_A_ROUGE", {}).get("value_by_index", {})
        for number, record in enumerate(mine if rouge else ()):
            said = {"input": record["question"], "ground_truth": record["answer"], "generation": record["after"]}
            rouge[str(number)] |= said
    for theirs, ours in _MEMBERSHIP.items():
        sets: dict[str, Any] = {}
        for group in ("forget", "holdout"):
            _write(sets, group, Place(ours, group, "score", -1), groups[group])
        if len(sets) == 2:
            logs[theirs] = {**sets, "auc": overall.get(f"{ours}_auc"), "agg_value": overall.get(f"{ours}_auc")}
    for name in OVERALL:
        if name not in logs and overall.get(name) is not None:
            logs[name] = {"agg_value": overall[name]}
    return logs


def _write(logs: dict[str, Any], name: str, place: Place, records: Sequence[Mapping[str, Any]]) -> None:
    values = [record["scores_after"].get(place.ours) for record in records]
    if not values or None in values:
        return
    signed = [place.sign * value for value in values]
    metric = logs.setdefault(name, {"agg_value": None, "value_by_index": {str(n): {} for n in range(len(values))}})
    for number, value in enumerate(signed):
        metric["value_by_index"][str(number)][place.field] = value
    if place.aggregate is not None:
        metric["agg_value"] = place.aggregate(signed)


def _by_number(logs: Logs) -> dict[str, dict[str, dict[int, float | None]]]:
    """By group, metric and number of the sample; only metrics with any score."""
    found: dict[str, dict[str, dict[int, float | None]]] = {}

    def read(metric: Any, group: str, ours: str, field: str, sign: int) -> None:
        values = {number: _number(one.get(field), sign) for number, one in _rows(metric).items()}
        if any(value is not None for value in values.values()):
            found.setdefault(group, {})[ours] = values

    for theirs, places in _PLACES.items():
        for place in places:
            metric = logs.get(place.metric.format(theirs))
            read(metric, GROUPS[theirs], place.ours, place.field, place.sign)
    for theirs, ours in _MEMBERSHIP.items():
        for group in ("forget", "holdout"):
            read((logs.get(theirs) or {}).get(group), group, ours, "score", -1)
    return found


def _numbers(columns: Mapping[str, Mapping[int, Any]]) -> list[int]:
    return sorted({number for values in columns.values() for number in values})


def _rows(metric: Any) -> dict[int, Mapping[str, Any]]:
    """A metric's values by the numbers of their samples."""
    values = metric.get("value_by_index") if isinstance(metric, Mapping) else None
    if not isinstance(values, Mapping):
        return {}
    if not all(isinstance(key, str) and key.isdecimal() and len(key) < 20 for key in values):
        raise DataError("a log of open-unlearning's numbers its samples; this one names them otherwise")
    return {int(key): one if isinstance(one, Mapping) else {} for key, one in values.items()}


def _number(value: Any, sign: int = 1) -> float | None:
    """None for what is no number, and for several (a value for each of some answers)."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return sign * float(value) if fine else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
