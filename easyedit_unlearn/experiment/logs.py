"""open-unlearning's logs as results, beside our own, and our results as its logs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from easyedit_unlearn.components import Metric, SetMetric
from easyedit_unlearn.errors import DataError, UnlearnWarning
from easyedit_unlearn.evaluation.aggregate import summarise, whole
from easyedit_unlearn.evaluation.openunlearning import evaluation_of, logs_of, overall_in, read_logs
from easyedit_unlearn.experiment.rejudge import read_results
from easyedit_unlearn.results import UNDESCRIBED, Record, Results, Row, row_of
from easyedit_unlearn.types import Evaluation, Observation, Scores

NEAR = 1e-4
"""A log's own aggregate and what its samples give may differ by so much: it adds 1e-10 here and there."""


def imported(sources: Sequence[tuple[str, Path]], metrics: Sequence[Any], reference: Scores | None = None) -> Results:
    """A row for each log, and every row of each folder of ours, in one table.

    Args:
        sources: (name, path): a log, or a folder that ``run``, ``evaluate`` or ``bench`` wrote.
        reference: of a model that never saw the forget set.

    Raises:
        DataError: a source is neither, or two are of one name.
    """
    results = Results(status="complete")
    for name, path in sources:
        if path.is_dir() and (path / "results.json").is_file():
            own = read_results(path)
            results.rows += own.rows
            results.samples += own.samples
        else:
            _add(results, name, path, metrics, reference)
    names = [str(row["label"]) for row in results.rows if row["method"] != "before"]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"two of these are called {', '.join(twice)}: name them, NAME=FILE")
    return results


def exported(folder: Path, label: str | None) -> dict[str, Any]:
    """The log of a row of a folder of ours, by default of its last.

    Raises:
        DataError: no such folder or row, or one without samples.
    """
    results = read_results(folder)
    labels = [row["label"] for row in results.rows if row["method"] != "before"]
    chosen = label or (labels[-1] if labels else "")
    if chosen not in labels:
        raise DataError(f"{folder}: has no row {chosen!r}; it has {', '.join(labels) or 'none'}")
    row = next(row for row in results.rows if row["label"] == chosen)
    logs = logs_of([record for record in results.samples if record["method"] == chosen], row.get("overall") or {})
    if not logs:
        raise DataError(f"{folder}: holds no scores of single samples of {chosen!r}")
    return logs


def _add(results: Results, name: str, path: Path, metrics: Sequence[Any], reference: Scores | None) -> None:
    logs = read_logs(path)
    each = [metric for metric in metrics if isinstance(metric, Metric)]

    def judge(seen: Observation) -> Mapping[str, float | None]:
        return {metric.name: metric.score(seen) for metric in each if metric.of_reply}

    evaluation = _whole_rows(evaluation_of(logs, judge), each)
    if not evaluation.scored:
        raise DataError(f"{path}: holds no sample of a metric that we know")
    known = frozenset(s.observation.sample.key for s in evaluation.scored)
    found = whole(evaluation, each, [m for m in metrics if isinstance(m, SetMetric)], reference)
    own, logged = found["overall"], overall_in(logs)
    for key, value in logged.items():
        mine = own.get(key)
        if mine is not None and value is not None and abs(mine - value) > NEAR * max(1.0, abs(value)):
            warnings.warn(
                f"{path}: logs {key} as {value:.6g}; of its samples it is {mine:.6g}", UnlearnWarning, stacklevel=2
            )
        own[key] = value if mine is None else mine
    counts = {
        f"n_{g}": sum(s.observation.group == g for s in evaluation.scored) for g in ("forget", "retain", "holdout")
    }
    about = {"method": name, "label": name, "model": name, "host": "open-unlearning", "n_known": counts["n_forget"]}
    unmeasured: Row = {"ppl_before": None, "ppl_after": None, "seconds": None, "peak_memory_mb": None, "versions": {}}
    results.rows.append(
        row_of(UNDESCRIBED, about, counts, summarise(evaluation, each, known), found, {"change": None}, unmeasured)
    )
    results.samples += [_record(name, one) for one in evaluation.scored if one.observation.text]


def _whole_rows(evaluation: Evaluation, metrics: Sequence[Metric]) -> Evaluation:
    """With None for every metric that the log does not have."""
    missing: dict[str, float | None] = dict.fromkeys(metric.name for metric in metrics)
    scored = [type(one)(one.observation, {**missing, **one.scores}) for one in evaluation.scored]
    return Evaluation(scored, evaluation.perplexity)


def _record(name: str, scored: Any) -> Record:
    seen = scored.observation
    return {
        "method": name, "group": seen.group, "id": seen.sample.id, "known": True, "question": seen.prompt,
        "answer": seen.sample.answer, "aliases": [], "target": None, "target_origin": None, "before": None,
        "after": seen.text, "scores_before": None, "scores_after": dict(scored.scores),
    }  # fmt: skip
