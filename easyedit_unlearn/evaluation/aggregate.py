"""From scored observations to the columns of a row: means, intervals, and numbers about the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, harmonic_mean
from typing import Any

from easyedit_unlearn.components import Metric, SetMetric
from easyedit_unlearn.evaluation.scoring import by_question
from easyedit_unlearn.types import Evaluation, Scores

RESAMPLES = 2000
FEWEST = 10
"""Known facts to forget, of fewer of which one number says nothing."""


def summarise(evaluation: Evaluation, metrics: Iterable[Metric], known: frozenset[str]) -> dict[str, Any]:
    """Columns ``{group}_{metric}``, counts ``n_prompts_{group}`` and Wilson 95 % ``intervals``, over known facts only.

    A column without any defined score is None, never 0.
    """
    row: dict[str, Any] = {}
    intervals: dict[str, list[float]] = {}
    for group in ("forget", "rephrase", "retain", "holdout"):
        members = [s for s in evaluation.scored if s.observation.group == group and s.observation.sample.key in known]
        row[f"n_prompts_{group}"] = sum(not s.observation.sample.is_text for s in members)
        for metric in metrics:
            values = [value for s in members if (value := s.scores[metric.name]) is not None]
            row[f"{group}_{metric.name}"] = fmean(values) if values else None
            if metric.proportion and values:
                intervals[f"{group}_{metric.name}"] = wilson(round(sum(values)), len(values))
    enough = row["n_prompts_forget"] >= FEWEST
    return row | {"intervals": intervals, "balance": balance(row) if enough else None}


def balance(row: Mapping[str, Any]) -> float | None:
    """What one number can say of a row: the harmonic mean of the shares of facts forgotten, forgotten in other words,
    retained, and kept on the holdout set; of those that are defined, the first of which must be.

    Forgotten is what is answered with something that does not give the answer: a refusal, another answer. A reply that
    says nothing (``judging.is_babble``) is none: a method that destroys is not taken for one that forgets. A row has it
    of ten known facts or more.
    """
    gone = [row.get(f"{group}_forgotten_rate") for group in ("forget", "rephrase")]
    kept = [row.get(f"{group}_answer_rate") for group in ("retain", "holdout")]
    if gone[0] is None:
        return None
    return float(harmonic_mean([value for value in (*gone, *kept) if value is not None]))


def whole(
    evaluation: Evaluation, metrics: Sequence[Metric], set_metrics: Iterable[SetMetric], reference: Scores | None
) -> dict[str, Any]:
    """Over all samples, known before or not, as the literature counts: ``means``, by metric and group with their
    intervals and how many scores are defined, and ``overall``, by set metric; None where nothing was evaluated."""
    scores = scores_of(evaluation)
    means = {
        metric.name: {group: _mean(found[metric.name], metric.proportion) for group, found in scores.items()}
        for metric in metrics
    }
    overall = {metric.name: metric.value(scores, reference) if scores else None for metric in set_metrics}
    return {"means": means, "overall": overall}


def paired(first: Evaluation, second: Evaluation, metrics: Iterable[Metric]) -> dict[str, Any]:
    """By metric and group, by how much the second scores more than the first on the prompts that both were asked: the
    mean ``difference``, its bootstrap ``interval`` over prompts, and how many they are."""
    earlier = by_question(first)
    found: dict[str, dict[str, list[float]]] = {metric.name: {} for metric in metrics}
    for key, scored in by_question(second).items():
        for name, groups in found.items():
            before, after = earlier[key].scores[name] if key in earlier else None, scored.scores[name]
            if before is not None and after is not None:
                groups.setdefault(key[0], []).append(after - before)
    return {
        name: {
            group: {"difference": fmean(values), "n": len(values), "interval": bootstrap(values)}
            for group, values in groups.items()
        }
        for name, groups in found.items()
    }


def scores_of(evaluation: Evaluation) -> Scores:
    """By group and metric the scores of all prompts, in order; None where one is undefined."""
    found: dict[str, dict[str, list[float | None]]] = {}
    for scored in evaluation.scored:
        group = found.setdefault(scored.observation.group, {})
        for name, value in scored.scores.items():
            group.setdefault(name, []).append(value)
    return found


def _mean(scores: Sequence[float | None], proportion: bool) -> dict[str, Any]:
    values = [value for value in scores if value is not None]
    interval = wilson(round(sum(values)), len(values)) if proportion and values else bootstrap(values)
    return {"mean": fmean(values) if values else None, "n": len(values), "interval": interval}


def wilson(successes: int, trials: int) -> list[float]:
    """The 95 % Wilson score interval of a proportion."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def bootstrap(values: Sequence[float]) -> list[float] | None:
    """The 95 % percentile interval of the mean over resampled prompts, the same for the same values; None of fewer
    than two."""
    import numpy as np
    from scipy.stats import bootstrap as resampled

    if len(values) < 2:
        return None
    found = resampled(
        (np.asarray(values, dtype=float),), np.mean, n_resamples=RESAMPLES, method="percentile",
        rng=np.random.default_rng(0), vectorized=True,
    ).confidence_interval  # fmt: skip
    return [float(found.low), float(found.high)]
