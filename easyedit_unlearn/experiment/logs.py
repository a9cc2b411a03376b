"""open-unlearning's logs as results, beside our own, and our results as its logs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from easyedit_unlearn.components import Metric, SetMetric
from easyedit_unlearn.errors import DataError, UnlearnWarning
from easyedit_unlearn.evaluation.aggregate import summarise, whole
from easyedit_unlearn.evaluation.openunlearning import evaluation_from, logs_to, overall_from, read_logs
from easyedit_unlearn.experiment.rejudge import read_results
from easyedit_unlearn.results import UNDESCRIBED, Record, Results, Row, row_of
from easyedit_unlearn.types import Evaluation, Observation, Scored, Scores

NEAR = 1e-4
"""A log's own aggregate and what its samples give may differ by so much: it adds 1e-10 here and there."""


def imported(sources: Sequence[tuple[str, Path]], metrics: Sequence[Any], reference: Scores | None = None) -> Results:
    """A row for each log, its replies judged and its set metrics computed here, and every row of each folder of ours
    as it stands, in one table.

    Args:
        sources: (name, path): a log, or a folder that ``run``, ``evaluate`` or ``bench`` wrote, whose rows have names.
        reference: of a model that never saw the forget set.

    Raises:
        DataError: a source is neither, or two rows are of one name.
    """
    results = Results(status="complete")
    for name, path in sources:
        if path.is_dir() and (path / "results.json").is_file():
            own = read_results(path)
            results.rows += [row for row in (own.before, *own.rows) if row]
            results.samples += own.samples
        else:
            _add(results, name, path, metrics, reference)
    counts = Counter(map(_identity, (row for row in results.rows if row["method"] != "before")))
    twice = sorted({str(identity[0]) for identity, count in counts.items() if count > 1})
    if twice:
        raise DataError(f"two rows are called {', '.join(twice)}: give logs other names, NAME=FILE")
    return results


def exported(folder: Path, label: str | None = None, setting: str | None = None) -> dict[str, Any]:
    """The log of a row of a folder of ours; of a growing forget set that of its end, which alone has samples.

    Raises:
        DataError: no such folder or row, or one without samples; or several rows, which must be told apart.
    """
    results = read_results(folder)
    rows = [row for row in results.rows if row["method"] != "before" and not row.get("stopped")]
    chosen = [row for row in rows if label in (None, row["label"]) and setting in (None, row.get("setting"))]
    found = {(row["label"], row.get("setting")): row for row in sorted(chosen, key=lambda row: row["n_forget"])}
    if len(found) != 1:
        every = "; ".join(f"{name}{f' ({where})' if where else ''}" for name, where in (found or dict.fromkeys(
            (row["label"], row.get("setting")) for row in rows)))  # fmt: skip
        raise DataError(
            f"{folder}: name one row with --label, and --setting where it needs one: {every or 'it has none'}"
        )
    ((name, where), row) = next(iter(found.items()))
    records = [one for one in results.samples if one["method"] == name and one.get("setting") == where]
    logs = logs_to(records, row.get("overall") or {})
    if not logs:
        raise DataError(f"{folder}: holds no scores of single samples of {name!r}")
    return logs


def _identity(row: Row) -> tuple[Any, ...]:
    return row["label"], row.get("setting"), row.get("size"), row.get("stopped")


def _add(results: Results, name: str, path: Path, metrics: Sequence[Any], reference: Scores | None) -> None:
    logs = read_logs(path)
    each = [metric for metric in metrics if isinstance(metric, Metric)]

    def judge(seen: Observation) -> Mapping[str, float | None]:
        return {metric.name: metric.score(seen) for metric in each if metric.of_reply}

    evaluation = _complete(evaluation_from(logs, judge), each)
    if not evaluation.scored:
        raise DataError(f"{path}: holds no sample of a metric that we know")
    known = frozenset(s.observation.sample.key for s in evaluation.scored)
    found = whole(evaluation, each, [m for m in metrics if isinstance(m, SetMetric)], reference)
    found["overall"] = _compared(found["overall"], overall_from(logs), path)
    counts = Counter(s.observation.group for s in evaluation.scored)
    about = {"method": name, "label": name, "model": name, "host": "open-unlearning", "n_known": counts["forget"]}
    sizes = {f"n_{group}": counts[group] for group in ("forget", "retain", "holdout")}
    unmeasured: Row = {"ppl_before": None, "ppl_after": None, "seconds": None, "peak_memory_mb": None, "versions": {}}
    row = row_of(UNDESCRIBED, about, sizes, summarise(evaluation, each, known), found, {"change": None}, unmeasured)
    results.rows.append(row)
    results.samples += [_record(name, one) for one in evaluation.scored]


def _compared(
    own: Mapping[str, float | None], logged: Mapping[str, float | None], path: Path
) -> dict[str, float | None]:
    """What the samples give, else what was logged; a warning where both are there and differ."""
    found = dict(own)
    for key, value in logged.items():
        mine = own.get(key)
        if mine is not None and value is not None and abs(mine - value) > NEAR * max(1.0, abs(value)):
            warnings.warn(
                f"{path}: logs {key} as {value:.6g}; of its samples it is {mine:.6g}", UnlearnWarning, stacklevel=2
            )
        found[key] = value if mine is None else mine
    return found


def _complete(evaluation: Evaluation, metrics: Sequence[Metric]) -> Evaluation:
    """With None for every metric that the log does not have."""
    missing: dict[str, float | None] = dict.fromkeys(metric.name for metric in metrics)
    scored = [Scored(one.observation, {**missing, **one.scores}) for one in evaluation.scored]
    return Evaluation(scored, evaluation.perplexity)


def _record(name: str, scored: Scored) -> Record:
    seen = scored.observation
    return {
        "method": name, "group": seen.group, "id": seen.sample.id, "known": True, "question": seen.prompt,
        "answer": seen.sample.answer, "aliases": [], "target": None, "target_origin": None, "before": None,
        "after": seen.text, "scores_before": None, "scores_after": dict(scored.scores),
    }  # fmt: skip
