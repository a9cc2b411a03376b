"""open-unlearning's evaluation logs, read and written. No torch. The file is of their shape, its numbers ours."""

from __future__ import annotations

import json
import math

import pytest
from typer.testing import CliRunner

from easyedit_unlearn.cli.app import app
from easyedit_unlearn.errors import DataError, OutputExistsError, UnlearnWarning
from easyedit_unlearn.evaluation.aggregate import scores_of
from easyedit_unlearn.evaluation.openunlearning import evaluation_of, logs_of, overall_in, read_logs, scores_in
from easyedit_unlearn.evaluation.reference import matching_scores
from easyedit_unlearn.experiment.logs import exported, imported
from easyedit_unlearn.experiment.rejudge import read_results
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.types import ForgetSample, Selection

METRICS = list(default_plugins().metrics)


def by_index(**columns):
    """Their dictionaries of numbers by sample, in an order that is not that of the numbers, as they are written."""
    count = len(next(iter(columns.values())))
    rows = {str(i): {name: values[i] for name, values in columns.items()} for i in range(count)}
    return dict(sorted(rows.items(), key=lambda item: item[0], reverse=True))


def metric(agg, **columns):
    return {"agg_value": agg, "value_by_index": by_index(**columns)}


LOSSES = [0.5, 1.0, 2.0]
RATIOS = [0.5, 4.0, 1.0]
SAID = ["Her name is Ann.", "I can't help with that.", "Ann Ann Ann"]
LOGS = {
    "forget_Q_A_Prob": metric(0.36, prob=[math.exp(-x) for x in LOSSES], avg_loss=LOSSES),
    "forget_Q_A_PERT_Prob": metric(0.1, prob=[[0.1, 0.2]] * 3, avg_loss=[[2.3, 1.6]] * 3),
    "forget_Q_A_ROUGE": metric(
        0.5, rouge1_recall=[1.0, 0.0, 0.5], rougeL_f1=[0.9, 0.0, 0.4], rougeL_recall=[1.0, 0.0, 0.5],
        input=["user\nWho?\nassistant\n"] * 3, ground_truth=["Ann"] * 3, generation=SAID,
    ),
    "forget_truth_ratio": metric(0.58, score=RATIOS),
    "extraction_strength": metric(0.4, score=[0.2, 0.4, None]),
    "retain_Q_A_Prob": metric(0.8, prob=[0.7, 0.9], avg_loss=[0.35, 0.1]),
    "retain_Q_A_ROUGE": metric(0.75, rouge1_recall=[1.0, 0.5], rougeL_f1=[1.0, 0.5], rougeL_recall=[1.0, 0.5]),
    "retain_Truth_Ratio": metric(0.5, score=[0.25, 0.75]),
    "ra_Q_A_Prob_normalised": metric(0.5, prob=[0.5]),
    "ra_Q_A_ROUGE": metric(1.0, rouge1_recall=[1.0], rougeL_recall=[1.0]),
    "ra_Truth_Ratio": metric(0.5, score=[0.5]),
    "wf_Q_A_Prob_normalised": metric(0.5, prob=[0.5]),
    "wf_Q_A_ROUGE": metric(0.5, rouge1_recall=[0.5], rougeL_recall=[0.5]),
    "wf_Truth_Ratio": metric(0.5, score=[0.5]),
    "mia_min_k": {
        "forget": metric(3.0, score=[1.0, 2.0, 6.0]), "holdout": metric(5.0, score=[4.0, 5.0, 7.0]), "auc": 7 / 9,
        "agg_value": 7 / 9,
    },
    "forget_quality": {"agg_value": 0.07},
    "model_utility": {"agg_value": 9 / (1 / 0.8 + 1 / 0.75 + 1 / 0.5 + 2 / 0.5 + 1 / 1.0 + 3 / 0.5)},
    "privleak": {"agg_value": -12.5},
}  # fmt: skip


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "NPO" / "evals" / "TOFU_EVAL.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(LOGS, indent=4))
    return path


def test_samples_come_in_the_order_of_their_numbers_and_with_our_sign(log):
    found = scores_in(read_logs(log))
    assert found["forget"]["answer_prob"] == pytest.approx([math.exp(-x) for x in LOSSES])
    assert found["forget"]["mia_loss"] == pytest.approx([-x for x in LOSSES])
    assert found["forget"]["truth_ratio"] == RATIOS
    assert found["forget"]["extraction_strength"] == [0.2, 0.4, None]
    assert found["holdout"]["mia_min_k"] == [-4.0, -5.0, -7.0]
    assert set(found) == {"forget", "retain", "real_authors", "world_facts", "holdout"}
    assert overall_in(read_logs(log))["mia_min_k_auc"] == pytest.approx(7 / 9)


@pytest.mark.filterwarnings("error::easyedit_unlearn.errors.UnlearnWarning")
def test_a_log_becomes_a_row_whose_aggregates_are_theirs_and_whose_replies_are_judged_here(log):
    (row,) = imported([("NPO", log)], METRICS).rows
    assert row["overall"]["model_utility"] == pytest.approx(LOGS["model_utility"]["agg_value"])  # from the samples
    assert row["overall"]["mia_min_k_auc"] == pytest.approx(7 / 9)
    assert row["overall"]["forget_quality"] == 0.07  # theirs, for want of a reference
    assert row["overall"]["forget_truth_ratio"] == pytest.approx((0.5 + 0.25 + 1.0) / 3)
    assert row["means"]["answer_prob"]["retain"]["mean"] == pytest.approx(0.8)
    assert row["means"]["extraction_strength"]["forget"]["n"] == 2
    assert (row["n_forget"], row["n_retain"]) == (3, 2)
    assert row["forget_answer_rate"] == pytest.approx(2 / 3)
    assert row["forget_refusal_rate"] == pytest.approx(1 / 3)
    reference = {"forget": {"truth_ratio": RATIOS}}
    with pytest.warns(UnlearnWarning, match="logs forget_quality as 0.07; of its samples it is 1"):
        (row,) = imported([("NPO", log)], METRICS, reference).rows
    assert row["overall"]["forget_quality"] == pytest.approx(1.0)


def test_what_is_written_reads_back_as_it_was(log, tmp_path):
    logs = read_logs(log)
    out = tmp_path / "ours"
    assert CliRunner().invoke(app, ["import-logs", f"NPO={log}", "--out", str(out)]).exit_code == 0
    records = [
        {"group": s.observation.group, "question": s.observation.prompt, "answer": s.observation.sample.answer,
         "after": s.observation.text, "scores_after": s.scores}
        for s in evaluation_of(logs, lambda seen: {}).scored
    ]  # fmt: skip
    again = logs_of(records, overall_in(logs) | {"forget_truth_ratio": 0.58})
    missing = {"extraction_strength", "forget_Q_A_PERT_Prob"}  # one has no value for a sample, the other several
    assert set(LOGS) - set(again) == missing
    for name in set(LOGS) - missing:
        theirs, ours = LOGS[name], again[name]
        assert ours["agg_value"] == pytest.approx(theirs["agg_value"], abs=0.01), name
        for index, values in theirs.get("value_by_index", {}).items():
            shared = {key: value for key, value in values.items() if key in ours["value_by_index"][index]}
            assert shared and all(ours["value_by_index"][index][key] == pytest.approx(v) for key, v in shared.items()
                                  if not isinstance(v, str))  # fmt: skip
    assert scores_in(again)["forget"]["truth_ratio"] == RATIOS


def test_a_folder_of_ours_stands_beside_a_log_and_is_written_as_one(log, tmp_path):
    out, both = tmp_path / "ours", tmp_path / "both"
    run = CliRunner().invoke
    assert run(app, ["import-logs", str(log), "--out", str(out)]).exit_code == 0
    assert read_results(out).rows[0]["label"] == "NPO"  # the folder's, as they lie in NPO/evals
    shown = run(app, ["import-logs", f"theirs={log}", str(out), "--out", str(both)])
    assert shown.exit_code == 0, shown.output
    assert [row["label"] for row in read_results(both).rows] == ["theirs", "NPO"]
    written = tmp_path / "TOFU_EVAL.json"
    assert run(app, ["export-logs", str(both), "--label", "theirs", "--out", str(written)]).exit_code == 0
    found = json.loads(written.read_text())
    assert [found["forget_Q_A_ROUGE"]["value_by_index"][str(i)]["generation"] for i in range(3)] == SAID
    again = ["export-logs", str(both), "--out", str(written)]
    assert isinstance(run(app, again).exception, OutputExistsError)
    assert run(app, [*again, "--overwrite"]).exit_code == 0
    written.write_text("a diary")
    assert isinstance(run(app, [*again, "--overwrite"]).exception, DataError)  # not ours to replace
    assert written.read_text() == "a diary"


def test_a_retain_models_log_of_theirs_is_a_reference(log):
    samples = [ForgetSample(str(i), f"Q{i}?", "A") for i in range(3)]
    asked = {"prompt": "chat", "max_new_tokens": 48, "score_end": True}
    scores = matching_scores(log, Selection(samples), asked)
    assert scores["forget"]["truth_ratio"] == RATIOS
    with pytest.raises(DataError, match="not one score a prompt of the forget set"):
        matching_scores(log, Selection(samples[:2]), asked)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "is no log of open-unlearning's"),
        ('{"model_utility": 0.5}', "is no log of open-unlearning's"),
        ('{"x": {"agg_value": 1}}', "holds no sample of a metric that we know"),
        ('{"forget_truth_ratio": {"agg_value": 1, "value_by_index": {"a": {"score": 1}}}}', "numbers its samples"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_what_is_no_log_is_told_in_one_line(tmp_path, text, said):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        imported([("x", path)], METRICS)


def test_names_must_tell_rows_apart(log):
    with pytest.raises(DataError, match="two of these are called A"):
        imported([("A", log), ("A", log)], METRICS)
    with pytest.raises(DataError, match="no such file"):
        exported(log.parent, None)


def test_scores_that_are_no_numbers_are_undefined(tmp_path):
    path = tmp_path / "x.json"
    values = '{"0": {"score": NaN}, "1": {"score": 2}}'
    path.write_text(f'{{"forget_truth_ratio": {{"agg_value": NaN, "value_by_index": {values}}}}}')
    (row,) = imported([("x", path)], METRICS).rows
    assert row["means"]["truth_ratio"]["forget"]["n"] == 1
    assert scores_of(evaluation_of(read_logs(path), lambda seen: {}))["forget"]["truth_ratio"] == [None, 2.0]
