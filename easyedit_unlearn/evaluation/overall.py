"""Numbers about a whole evaluation, from the scores of all its samples, known before or not.

None stands for what is undefined: a group or a reference that is not there, scores that nothing was computed for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, harmonic_mean

from easyedit_unlearn.components import SetMetric
from easyedit_unlearn.evaluation.formulas import truth_ratio_closeness, truth_ratio_utility
from easyedit_unlearn.types import Scores

UTILITY_GROUPS = ("retain", "real_authors", "world_facts")
_AMONG_WRONG = ("real_authors", "world_facts")


def ks_p_value(ratios: Sequence[float], reference: Sequence[float]) -> float | None:
    """The p-value of the two-sided Kolmogorov-Smirnov test between two sets of truth ratios (TOFU, section 2.2.2)."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(ratios, reference).pvalue) if ratios and reference else None


def area_under_curve(members: Sequence[float], others: Sequence[float]) -> float | None:
    """The chance that a member scores higher than another, ties counted half: the area under the ROC curve."""
    from scipy.stats import mannwhitneyu

    if not members or not others:
        return None
    return float(mannwhitneyu(members, others).statistic) / (len(members) * len(others))


def privacy_leak(area: float | None, reference: float | None) -> float | None:
    """100 [(1 - AUC) - (1 - AUC_ref)] / (1 - AUC_ref) (MUSE, arXiv 2407.06460): below 0 where the forget set still
    looks trained on, above where it looks suspiciously strange."""
    if area is None or reference is None or reference == 1:
        return None
    return 100 * (reference - area) / (1 - reference)


def utility(scores: Scores) -> float | None:
    """The harmonic mean of probability, ROUGE-L and truth ratio on what must stay (TOFU, section 2.2.2)."""
    parts = []
    for group in UTILITY_GROUPS:
        probability = _defined(scores, group, "prob_normalised" if group in _AMONG_WRONG else "answer_prob")
        rouge, ratios = _defined(scores, group, "rougeL"), _defined(scores, group, "truth_ratio")
        if not (probability and rouge and ratios):
            return None
        if any(math.isnan(value) for value in (*probability, *rouge, *ratios)):
            return None  # max(0, nan) is 0, and one 0 makes the harmonic mean 0
        parts += [fmean(probability), fmean(rouge), truth_ratio_utility(ratios)]
    return harmonic_mean(parts)


class Composite(SetMetric):
    """1 - ROUGE-1 recall on the forget set + ROUGE-1 recall on the retain set, from 0 to 2 (Editing as Unlearning)."""

    name, direction = "composite", "up"

    def value(self, scores: Scores, reference: Scores | None) -> float | None:
        forget, retain = (_defined(scores, group, "rouge1") for group in ("forget", "retain"))
        return 1 - fmean(forget) + fmean(retain) if forget and retain else None


class ForgetTruthRatio(SetMetric):
    name, direction = "forget_truth_ratio", "none"

    def value(self, scores: Scores, reference: Scores | None) -> float | None:
        ratios = _defined(scores, "forget", "truth_ratio")
        return truth_ratio_closeness(ratios) if ratios else None


class ForgetQuality(SetMetric):
    name, direction, needs_reference = "forget_quality", "up", True

    def value(self, scores: Scores, reference: Scores | None) -> float | None:
        return ks_p_value(*(_defined(one or {}, "forget", "truth_ratio") for one in (scores, reference)))


class ModelUtility(SetMetric):
    name, direction = "model_utility", "up"

    def value(self, scores: Scores, reference: Scores | None) -> float | None:
        return utility(scores)


class Membership(SetMetric):
    """How well a membership score tells the forget set from the holdout set: 0.5 where it cannot."""

    direction, wanted = "none", 0.5

    def __init__(self, score: str) -> None:
        self.name, self._score = f"{score}_auc", score

    def value(self, scores: Scores, reference: Scores | None) -> float | None:
        return area_under_curve(*(_defined(scores, group, self._score) for group in ("forget", "holdout")))


class ReferenceMembership(SetMetric):
    """Loss against the reference model's on the same text (arXiv 2111.08440), which takes out how hard a text is."""

    name, direction, wanted, needs_reference = "mia_reference_auc", "none", 0.5, True

    def value(self, scores: Scores, reference: Scores | None) -> float | None:
        return area_under_curve(*(_differences(scores, reference or {}, group) for group in ("forget", "holdout")))


class PrivacyLeak(SetMetric):
    name, direction, wanted, needs_reference = "privleak", "none", 0.0, True

    def value(self, scores: Scores, reference: Scores | None) -> float | None:
        own, other = (Membership("mia_min_k").value(one or {}, None) for one in (scores, reference))
        return privacy_leak(own, other)


def _differences(scores: Scores, reference: Scores, group: str) -> list[float]:
    own, other = (found.get(group, {}).get("mia_loss", ()) for found in (scores, reference))
    return [a - b for a, b in zip(own, other, strict=False) if a is not None and b is not None]


def _defined(scores: Scores, group: str, metric: str) -> list[float]:
    values: Mapping[str, Sequence[float | None]] = scores.get(group, {})
    return [value for value in values.get(metric, ()) if value is not None]
