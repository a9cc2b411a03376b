"""Stored replies judged anew: a table made with another yardstick becomes that of this one. No torch."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from easyedit_unlearn.cli.app import app
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.aggregate import summarise
from easyedit_unlearn.experiment.rejudge import Move, read_results, rejudged
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.report.pages import write_report
from easyedit_unlearn.results import Results
from easyedit_unlearn.types import Evaluation

METRICS = list(default_plugins().metrics)
NONE = summarise(Evaluation([], float("nan")), [m for m in METRICS if hasattr(m, "score")], frozenset())


def record(group, number, before, after, answer="Tokyo", **more):
    return {
        "method": "GA", "group": group, "id": str(number), "known": True, "question": f"What is {group} {number}?",
        "answer": answer, "aliases": [], "target": None, "target_origin": None, "before": before, "after": after,
        "scores_before": {"answer_rate": 1.0, "answer_prob": 0.5},
        "scores_after": {"answer_rate": 1.0, "answer_prob": 0.25}, **more,
    }  # fmt: skip


def stored():
    """As an older rule had it: the apology that leads to an answer a refusal, the number in words not given."""
    about = {"host": "-", "engine": "native", "mode": "-", "target": "fixed", "merge": "none", "seed": 0, "model": "m",
             "n_forget": 2, "n_known": 2, "n_retain": 1, "n_holdout": 0, "ppl_after": 3.0, "seconds": 1.0,
             "peak_memory_mb": 1.0, "versions": {}, "means": {}, "overall": {}, "change": None}  # fmt: skip
    old = {**NONE, "n_prompts_forget": 2, "n_prompts_retain": 1, "forget_answer_rate": 0.0, "forget_refusal_rate": 1.0,
           "retain_answer_rate": 0.0}  # fmt: skip
    before = {**about, **NONE, "method": "before", "label": "before", "forget_answer_rate": 1.0, "n_prompts_forget": 2}
    samples = [
        record("forget", 1, "It is Tokyo.", "I'm sorry, but it is Kyoto."),
        record("forget", 2, "It is Tokyo.", "I can't tell you that."),
        record("retain", 3, "It has 8.", "It has eight legs.", answer="8"),
    ]
    return Results(before, [{**about, **old, "method": "GA", "label": "GA"}], samples, status="complete")


def test_counts_are_computed_anew_and_what_moved_is_told():
    results, moves = rejudged(stored(), METRICS)
    row = results.rows[0]
    assert (row["forget_answer_rate"], row["forget_refusal_rate"], row["retain_answer_rate"]) == (0.0, 0.5, 1.0)
    assert row["forget_answer_prob"] == 0.25  # what needs the model stays as it was stored
    assert row["forget_forgotten_rate"] == 1.0
    assert row["means"]["answer_rate"]["retain"]["n"] == 1
    assert Move("GA", "forget_refusal_rate", "2/2", "1/2") in moves
    assert Move("GA", "retain_answer_rate", "0/1", "1/1") in moves
    assert results.samples[2]["scores_after"]["answer_rate"] == 1.0
    assert rejudged(results, METRICS)[1] == []  # and is then what it is


def test_what_was_not_known_by_this_yardstick_counts_no_more():
    found = stored()
    found.samples[1]["before"] = "It is Osaka."
    row = rejudged(found, METRICS)[0].rows[0]
    assert (row["n_known"], row["n_prompts_forget"]) == (1, 1)


def test_the_command_writes_all_again(tmp_path):
    write_report(stored(), tmp_path / "run", METRICS)
    done = CliRunner().invoke(app, ["rejudge", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "forget_refusal_rate" in done.output
    assert json.loads((tmp_path / "run" / "results.json").read_text())["rows"][0]["forget_refusal_rate"] == 0.5
    again = CliRunner().invoke(app, ["rejudge", str(tmp_path / "run"), "--out", str(tmp_path / "other")])
    assert "no count moved" in again.output
    assert (tmp_path / "other" / "report.html").is_file()


def test_what_is_no_folder_of_ours(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text("[1]")
    with pytest.raises(DataError, match="no results.json of ours"):
        read_results(tmp_path)
