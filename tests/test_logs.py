"""open-unlearning's evaluation logs, read and written. No torch. The file is of their shape, its numbers ours."""

from __future__ import annotations

import json
import math

import pytest
from typer.testing import CliRunner

from easyedit_unlearn.cli.app import app
from easyedit_unlearn.errors import DataError, OutputExistsError, UnlearnWarning
from easyedit_unlearn.evaluation.aggregate import scores_of
from easyedit_unlearn.evaluation.openunlearning import evaluation_from, logs_to, overall_from, read_logs, scores_from
from easyedit_unlearn.evaluation.reference import matching_scores
from easyedit_unlearn.experiment.logs import exported, imported
from easyedit_unlearn.experiment.rejudge import read_results
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.report.pages import write_report
from easyedit_unlearn.results import Results
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
PROBS = [math.exp(-loss) for loss in LOSSES]
RATIOS = [0.5, 4.0, 1.0]
SAID = ["Her name is Ann.", "I can't help with that.", "Ann Ann Ann"]
LOGS = {
    "forget_Q_A_Prob": metric(sum(PROBS) / 3, prob=PROBS, avg_loss=LOSSES),
    "forget_Q_A_PERT_Prob": metric(0.1, prob=[[0.1, 0.2]] * 3, avg_loss=[[2.3, 1.6]] * 3),
    "forget_Q_A_ROUGE": metric(
        0.5, rouge1_recall=[1.0, 0.0, 0.5], rougeL_f1=[0.9, 0.0, 0.4], rougeL_recall=[1.0, 0.0, 0.5],
        input=["user\nWho?\nassistant\n"] * 3, ground_truth=["Ann"] * 3, generation=SAID,
    ),
    "forget_truth_ratio": metric((0.5 + 0.25 + 1.0) / 3, score=RATIOS),
    "extraction_strength": metric(0.4, score=[0.2, 0.4, None]),
    "retain_Q_A_Prob": metric(0.8, prob=[0.7, 0.9], avg_loss=[0.35, 0.1]),
    "retain_Q_A_ROUGE": metric(0.75, rouge1_recall=[1.0, 0.5], rougeL_f1=[1.0, 0.5], rougeL_recall=[1.0, 0.5]),
    "retain_Truth_Ratio": metric(0.375, score=[0.25, 3.0]),
    "ra_Q_A_Prob_normalised": metric(0.5, prob=[0.5]),
    "ra_Q_A_ROUGE": metric(1.0, rouge1_recall=[1.0], rougeL_recall=[1.0]),
    "ra_Truth_Ratio": metric(0.4, score=[0.6]),
    "wf_Q_A_Prob_normalised": metric(0.5, prob=[0.5]),
    "wf_Q_A_ROUGE": metric(0.5, rouge1_recall=[0.5], rougeL_recall=[0.5]),
    "wf_Truth_Ratio": metric(0.7, score=[0.3]),
    "mia_min_k": {
        "forget": metric(3.0, score=[1.0, 2.0, 6.0]), "holdout": metric(5.0, score=[4.0, 5.0, 7.0]), "auc": 7 / 9,
        "agg_value": 7 / 9,
    },
    "forget_quality": {"agg_value": 0.07},
    "model_utility": {"agg_value": 9 / sum(1 / part for part in (0.8, 0.75, 0.375, 0.5, 1.0, 0.4, 0.5, 0.5, 0.7))},
    "privleak": {"agg_value": -12.5},
}  # fmt: skip


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "NPO" / "evals" / "TOFU_EVAL.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(LOGS, indent=4))
    return path


def test_samples_come_in_the_order_of_their_numbers_and_with_our_sign(log):
    found = scores_from(read_logs(log))
    assert found["forget"]["answer_prob"] == pytest.approx([math.exp(-x) for x in LOSSES])
    assert found["forget"]["mia_loss"] == pytest.approx([-x for x in LOSSES])
    assert found["forget"]["truth_ratio"] == RATIOS
    assert found["forget"]["extraction_strength"] == [0.2, 0.4, None]
    assert found["holdout"]["mia_min_k"] == [-4.0, -5.0, -7.0]
    assert set(found) == {"forget", "retain", "real_authors", "world_facts", "holdout"}
    assert overall_from(read_logs(log))["mia_min_k_auc"] == pytest.approx(7 / 9)


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


def records_of(logs):
    return [
        {"method": "NPO", "group": s.observation.group, "question": s.observation.prompt, "after": s.observation.text,
         "answer": s.observation.sample.answer, "scores_after": s.scores}
        for s in evaluation_from(logs, lambda seen: {}).scored
    ]  # fmt: skip


def test_what_is_written_reads_back_as_it_was(log):
    logs = read_logs(log)
    again = logs_to(records_of(logs), overall_from(logs))
    missing = {"extraction_strength", "forget_Q_A_PERT_Prob"}  # one has no value for a sample, the other several
    assert set(LOGS) - set(again) == missing
    assert {name: one["agg_value"] for name, one in again.items()} == {
        name: pytest.approx(one["agg_value"]) for name, one in LOGS.items() if name not in missing
    }
    wanted = scores_from(logs)
    del wanted["forget"]["extraction_strength"]
    assert scores_from(again) == {
        group: {name: pytest.approx(values) for name, values in columns.items()} for group, columns in wanted.items()
    }
    said = again["forget_Q_A_ROUGE"]["value_by_index"]
    assert [said[str(i)]["generation"] for i in range(3)] == SAID


def test_samples_are_joined_by_their_numbers_and_kept_where_nothing_was_said(tmp_path):
    prob = {"agg_value": 0.5, "value_by_index": {str(i): {"prob": i / 10, "avg_loss": 1.0} for i in (0, 1, 2)}}
    replies = {
        str(i): {"rougeL_recall": i / 10, "input": "Q", "ground_truth": "Ann", "generation": said}
        for i, said in ((0, ""), (2, "Ann"))
    }
    path = tmp_path / "x.json"
    rouge = {"agg_value": 0.5, "value_by_index": replies}
    path.write_text(json.dumps({"forget_Q_A_Prob": prob, "forget_Q_A_ROUGE": rouge}))
    assert scores_from(read_logs(path))["forget"]["rougeL"] == [0.0, None, 0.2]
    results = imported([("x", path)], METRICS)
    found = [(one["id"], one["after"], one["scores_after"]["answer_rate"]) for one in results.samples]
    assert found == [("forget-0", "", 0.0), ("forget-1", "", None), ("forget-2", "Ann", 1.0)]
    assert results.rows[0]["forget_answer_rate"] == 0.5  # of the two that were asked


def test_rows_of_one_name_are_told_apart_by_their_setting(log, tmp_path):
    row = imported([("GA", log)], METRICS).rows[0]
    sizes = [row | {"setting": "A", "size": size, "n_forget": size} for size in (1, 3)]
    rows = [*sizes, row | {"setting": "B"}, row | {"setting": "B", "stopped": "why"}]
    samples = imported([("GA", log)], METRICS).samples
    records = [{**one, "setting": where} for where in ("A", "B") for one in samples]
    folder = tmp_path / "bench"
    write_report(Results(rows=rows, samples=records, status="complete"), folder, METRICS)
    with pytest.raises(DataError, match=r"name one row with --label, and --setting .*: GA \(A\); GA \(B\)"):
        exported(folder, "GA")
    assert len(exported(folder, "GA", "B")["forget_Q_A_Prob"]["value_by_index"]) == 3
    with pytest.raises(DataError, match="name one row"):
        exported(folder, "NPO")
    assert len(imported([("theirs", log), ("", folder)], METRICS).rows) == 5


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
    again = ["export-logs", str(both), "--label", "NPO", "--out", str(written)]
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
    with pytest.raises(DataError, match="scores the end of an answer; leave out --no-score-end"):
        matching_scores(log, Selection(samples), asked | {"score_end": False})


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
    with pytest.raises(DataError, match="two rows are called A"):
        imported([("A", log), ("A", log)], METRICS)
    with pytest.raises(DataError, match="no such file"):
        exported(log.parent, None)


def test_scores_that_are_no_numbers_are_undefined(tmp_path):
    path = tmp_path / "x.json"
    values = '{"0": {"score": NaN}, "1": {"score": 2}}'
    path.write_text(f'{{"forget_truth_ratio": {{"agg_value": NaN, "value_by_index": {values}}}}}')
    (row,) = imported([("x", path)], METRICS).rows
    assert row["means"]["truth_ratio"]["forget"]["n"] == 1
    assert scores_of(evaluation_from(read_logs(path), lambda seen: {}))["forget"]["truth_ratio"] == [None, 2.0]
