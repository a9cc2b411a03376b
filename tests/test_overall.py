"""Numbers about a whole evaluation: published ones, and cases worked out by hand. No torch."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from easyedit_unlearn import ForgetSample
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation import overall
from easyedit_unlearn.evaluation.aggregate import bootstrap, paired, scores_of, summarise, whole
from easyedit_unlearn.evaluation.reference import matching_scores, read_log, write_log
from easyedit_unlearn.evaluation.scoring import scored_by
from easyedit_unlearn.plugins.load import load_plugins
from easyedit_unlearn.report.metrics import metric_cells, number, overall_cells, without_reference
from easyedit_unlearn.types import Evaluation, Observation, Scored, Selection

METRICS = load_plugins(use_entry_points=False).metrics
SAMPLES = [m for m in METRICS if not isinstance(m, overall.SetMetric)]
WHOLE = [m for m in METRICS if isinstance(m, overall.SetMetric)]


@pytest.mark.parametrize(("apart", "p"), [(119, 1.8341e-21), (104, 2.1943e-16)])
def test_the_p_values_that_tofu_published(apart, p):
    """300 truth ratios each; KS 0.396667 for llama2-7b and 0.346667 for phi-1.5 (the TOFU authors' logs)."""
    reference = list(range(300))
    found = [value + apart - 0.5 for value in reference]  # so that the distributions lie apart/300 apart
    assert overall.ks_p_value(found, reference) == pytest.approx(p, rel=1e-4)
    assert overall.ks_p_value(reference, reference) == 1.0
    assert overall.ks_p_value([], reference) is None


@pytest.mark.parametrize(("count", "reply", "expected"), [
    (10, "I can't say.", 1.0),  # forgotten
    (10, "It is Kyoto.", 1.0),
    (10, "Tokyo.", 0.0),
    (10, "the of the of the of the of the of the of the of", 0.0),  # destroyed, not forgotten
    (9, "I can't say.", None),  # too few for one number
])  # fmt: skip
def test_balance_takes_no_babble_for_forgetting_and_needs_ten_facts(count, reply, expected):
    samples = [ForgetSample(str(n), f"What is the capital, number {n}?", "Tokyo") for n in range(count)]
    per_sample = [metric for metric in SAMPLES if metric.of_reply]
    scored = [scored_by(per_sample, Observation(one, "forget", one.question, reply)) for one in samples]
    row = summarise(Evaluation(scored, 1.0), per_sample, frozenset(one.key for one in samples))
    assert row["balance"] == expected


def test_the_composite_of_the_paper():
    """1 - (1 + 0) / 2 on forget, + (1 + 0.5) / 2 on retain."""
    scores = {"forget": {"rouge1": [1.0, 0.0]}, "retain": {"rouge1": [1.0, 0.5]}}
    assert overall.Composite().value(scores, None) == pytest.approx(0.5 + 0.75)
    assert overall.Composite().value({"forget": {"rouge1": [1.0]}}, None) is None


def test_the_area_under_the_curve_counts_ties_half():
    assert overall.area_under_curve([2, 3], [0, 1]) == 1.0
    assert overall.area_under_curve([1, 2], [1, 0]) == pytest.approx(3.5 / 4)
    assert overall.area_under_curve([1, 1], [1]) == 0.5
    assert overall.area_under_curve([1], []) is None


def test_privacy_leak_is_negative_where_the_forget_set_is_still_known():
    assert overall.privacy_leak(1.0, 0.5) == -100
    assert overall.privacy_leak(0.5, 0.5) == 0
    assert overall.privacy_leak(0.25, 0.5) == 50
    assert overall.privacy_leak(0.5, 1.0) is None
    assert overall.privacy_leak(0.5, None) is None


def scores(utility=0.5, **forget):
    names = ("answer_prob", "prob_normalised", "rougeL")
    kept = {name: [utility, utility] for name in names} | {"truth_ratio": [1 - utility, 1 - utility]}
    return {"forget": forget, **{group: dict(kept) for group in overall.UTILITY_GROUPS}}


def value(name, found, reference=None):
    return METRICS.get(name).value(found, reference)


def test_model_utility_is_a_harmonic_mean_over_three_groups():
    assert value("model_utility", scores(0.5)) == pytest.approx(0.5)
    found = scores(0.5)
    found["retain"]["rougeL"] = [1.0, 1.0]
    found["world_facts"]["truth_ratio"] = [3.0, 0.5]  # worth 0 and 0.5: 0.25
    assert value("model_utility", found) == pytest.approx(9 / (7 / 0.5 + 1 / 1.0 + 1 / 0.25))
    found["real_authors"] = {}
    assert value("model_utility", found) is None
    assert value("model_utility", scores(0.0)) == 0.0
    found = scores(0.5)
    found["retain"]["truth_ratio"] = [0.5, float("nan")]  # max(0, 1 - nan) is 0 in Python, and would make all of it 0
    assert value("model_utility", found) is None


def test_of_the_forget_set():
    found = scores(truth_ratio=[0.5, 4.0, None, 0.0])
    assert value("forget_truth_ratio", found) == pytest.approx((0.5 + 0.25 + 0.0) / 3)
    assert value("forget_quality", found) is None
    assert value("forget_quality", found, found) == 1.0
    found = scores(mia_min_k=[-1.0, -2.0]) | {"holdout": {"mia_min_k": [-3.0, -4.0]}}
    assert value("mia_min_k_auc", found) == 1.0
    strange = scores(mia_min_k=[-1.0, -5.0]) | {"holdout": {"mia_min_k": [-3.0, -4.0]}}
    assert value("privleak", found, strange) == -100
    assert value("mia_loss_auc", {}) is None


def test_membership_against_a_reference_takes_out_how_hard_a_text_is():
    found = scores(mia_loss=[-5.0, None, -9.0]) | {"holdout": {"mia_loss": [-2.0, -3.0]}}
    reference = scores(mia_loss=[-6.0, -1.0, -11.0]) | {"holdout": {"mia_loss": [-2.0, -3.0]}}
    assert value("mia_loss_auc", found) == 0.0
    assert value("mia_reference_auc", found, reference) == 1.0  # better by 1 and 2 than the reference, against 0
    assert value("mia_reference_auc", found) is None


def evaluation(*probabilities, group="forget"):
    return Evaluation(
        [
            Scored(
                Observation(ForgetSample(str(n), f"Who {n}?", "Ann"), group, f"Who {n}?", "Ann"),
                {m.name: p if m.name in ("answer_prob", "truth_ratio") else None for m in SAMPLES},
            )
            for n, p in enumerate(probabilities)
        ],
        1.0,
    )


def test_means_are_over_what_is_defined_with_intervals():
    row = whole(evaluation(0.1, None, 0.3), SAMPLES, WHOLE, None)
    found = row["means"]["answer_prob"]["forget"]
    assert (found["mean"], found["n"]) == (pytest.approx(0.2), 2)
    assert found["interval"][0] == pytest.approx(0.1)
    assert row["means"]["rougeL"]["forget"] == {"mean": None, "n": 0, "interval": None}
    assert row["overall"]["model_utility"] is None
    assert bootstrap([0.5]) is None
    assert bootstrap([0.5, 0.5, 0.5]) == [0.5, 0.5]
    low, high = bootstrap([0.0, 1.0] * 50)
    assert low == pytest.approx(0.4, abs=0.03)  # 0.5 -+ 1.96 * 0.05
    assert high == pytest.approx(0.6, abs=0.03)


def test_a_paired_difference_is_surer_than_two_means():
    first, second = evaluation(0.1, 0.5, 0.9, 0.3), evaluation(0.2, 0.6, 1.0)  # the fourth was not asked again
    found = paired(first, second, SAMPLES)
    assert found["answer_prob"]["forget"]["difference"] == pytest.approx(0.1)
    assert found["answer_prob"]["forget"]["n"] == 3
    assert found["answer_prob"]["forget"]["interval"] == pytest.approx([0.1, 0.1])  # all by the same
    assert found["rougeL"] == {}
    assert paired(evaluation(0.1, group="retain"), second, SAMPLES)["answer_prob"] == {}


def test_what_a_person_reads():
    row = whole(evaluation(0.1, 0.3), SAMPLES, WHOLE, None)
    headings, (counts, *lines) = metric_cells(row, METRICS)
    assert headings == ["metric", "forget"]
    assert counts == ["prompts", "2"]
    assert ["answer_prob ↓", "0.2 ±0.1"] in lines
    assert ["rougeL ↓", "-"] in lines
    assert without_reference(row, METRICS) == ["forget_quality", "mia_reference_auc", "privleak"]
    named = {cells[0]: cells[1] for cells in overall_cells(row, METRICS)}
    assert named["mia_loss_auc → 0.5"] == "-"
    assert named["forget_quality ↑"] == "-"
    assert [number(x) for x in (0.0, 1.8341e-21, 12.3456, 0.5, 1e304)] == ["0", "1.8e-21", "12.3", "0.5", "1.0e+304"]


def test_a_reference_log_is_read_only_for_the_same_facts_asked_alike(tmp_path):
    asked, path = {"prompt": "chat", "max_new_tokens": 8}, tmp_path / "log.json"
    seen = evaluation(0.1, 0.2)
    facts = [scored.observation.sample for scored in seen.scored]
    selection = Selection(facts)
    write_log(path, seen, selection, "tiny", asked)
    assert matching_scores(path, selection, asked) == scores_of(seen)
    with pytest.raises(DataError, match=r"log.json: has another forget set.*--as-reference FILE"):
        matching_scores(path, Selection(facts[:1]), asked)
    other = replace(facts[0], extras={"perturbed_answer": ["Bo"]})
    with pytest.raises(DataError, match="has another forget set"):
        matching_scores(path, Selection([other, facts[1]]), asked)
    with pytest.raises(DataError, match="has another holdout set"):
        matching_scores(path, Selection(facts, holdout=[replace(other, question="Why?")]), asked)
    with pytest.raises(DataError, match=r"asked with .*'max_new_tokens': 8.*this model with"):
        matching_scores(path, selection, asked | {"max_new_tokens": 9})
    with pytest.raises(DataError, match="is not a reference log: No such file"):
        read_log(tmp_path / "none.json")
    log = json.loads(path.read_text())
    log["scores"]["forget"]["answer_prob"] = [0.1]
    path.write_text(json.dumps(log))
    with pytest.raises(DataError, match="not one score a prompt"):
        matching_scores(path, selection, asked)
    path.write_text('{"model": 3}')
    with pytest.raises(DataError, match="is not a reference log"):
        read_log(path)


def test_a_method_that_stopped_has_no_numbers():
    row = whole(Evaluation([], 1.0), SAMPLES, WHOLE, None)
    assert row["means"]["answer_prob"] == {}
    assert set(row["overall"].values()) == {None}
