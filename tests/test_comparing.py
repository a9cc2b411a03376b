"""Several runs in one table, and a talk with a model as it was and is."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import FACTS, tiny_llama, tiny_tokenizer
from typer.testing import CliRunner

from easyedit_unlearn.cli import app
from easyedit_unlearn.errors import DataError, OutputExistsError, UnlearnError
from easyedit_unlearn.experiment.comparing import folders_or_models, side_by_side
from easyedit_unlearn.experiment.talk import Talk
from easyedit_unlearn.model.checkpoint import BASE_RECORD, SYSTEM_PROMPT, save_checkpoint
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.report.pages import write_report
from easyedit_unlearn.results import Results

ABOUT = {
    "method": "GA", "label": "GA", "host": "-", "engine": "native", "mode": "auto", "target": "-", "merge": "none",
    "seed": 0,
    "n_requests": 1, "n_forget": 2, "n_known": 2, "n_retain": 0, "n_holdout": 0, "n_prompts_forget": 2, "balance": None,
    "refusals": None, "intervals": {}, "means": {}, "overall": {}, "change": None, "ppl_before": 1.0, "ppl_after": 1.0,
    "seconds": 1.0, "peak_memory_mb": 1.0, "versions": {}, "forget_answer_rate": 0.5, "model": "tiny",
}  # fmt: skip


def record(question, given, method="GA"):
    return {
        "method": method, "group": "forget", "id": question, "known": True, "question": question, "answer": "x",
        "aliases": [], "target": None, "target_origin": None, "before": "x", "after": "x" if given else "no",
        "scores_before": {"answer_rate": 1.0}, "scores_after": {"answer_rate": float(given)},
    }  # fmt: skip


def written(folder, balance, *given):
    samples = [record(question, value) for question, value in given]
    rows = [{**ABOUT, "balance": balance}]
    write_report(Results(None, rows, samples, status="complete"), folder, default_plugins().metrics)
    return folder


def test_runs_stand_side_by_side_on_what_all_were_asked(tmp_path):
    one = written(tmp_path / "one", 0.9, ("A?", False), ("B?", False))
    two = written(tmp_path / "two", 0.5, ("A?", True), ("B?", False))
    found = side_by_side([one, two])
    assert [row["label"] for row in found.rows] == ["GA [one]", "GA [two]"]
    assert [r["method"] for r in found.samples] == ["GA [one]", "GA [one]", "GA [two]", "GA [two]"]
    same = written(tmp_path / "b" / "one", 0.5, ("A?", True), ("B?", True))
    (tmp_path / "a").mkdir()
    one.rename(tmp_path / "a" / "one")
    one = tmp_path / "a" / "one"
    assert [row["label"] for row in side_by_side([one, same]).rows] == ["GA [a/one]", "GA [b/one]"]
    with pytest.raises(DataError, match="named twice"):
        side_by_side([one, tmp_path / "a" / "." / "one"])
    apart = written(tmp_path / "three", 0.5, ("A?", True), ("Z?", True))
    with pytest.raises(DataError, match=r"three asked other prompts \(1 of the one and 1 of the other alone\)"):
        side_by_side([one, apart])
    said = CliRunner().invoke(app, ["compare", str(one), str(two), "--out", str(one), "--overwrite"])
    assert isinstance(said.exception, OutputExistsError)
    with pytest.raises(UnlearnError, match="compare runs with runs"):
        folders_or_models([str(one), "somewhere"])
    said = CliRunner().invoke(app, ["compare", str(one), str(two), "--out", str(tmp_path / "both")])
    assert said.exit_code == 0, said.output
    assert "GA [a/one]" in said.output or ("GA [one]" in said.output and "in pairs" in said.output)
    assert (tmp_path / "both" / "report.html").is_file()


def test_checkpoints_are_asked_the_same(tmp_path, facts_file):
    for name, seed in (("first", 0), ("second", 1)):
        torch.manual_seed(seed)
        save_checkpoint(tiny_llama(hidden=32), tiny_tokenizer(), tmp_path / name)
    folders = [str(tmp_path / name) for name in ("first", "second")]
    said = CliRunner().invoke(app, ["compare", *folders])
    assert isinstance(said.exception, UnlearnError) and "--forget" in str(said.exception)
    said = CliRunner().invoke(
        app,
        [
            "compare",
            *folders,
            "--forget",
            f"{facts_file}:first2",
            "--reference",
            folders[0],
            "--out",
            str(tmp_path / "o"),
        ],
    )
    assert said.exit_code == 0, said.output
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    assert [row["label"] for row in results["rows"]] == ["first", "second"]
    assert results["before"]["label"] == "before"
    assert len(results["samples"]) == 2 * len({one["question"] for one in results["samples"]})


def test_a_talk_goes_on_from_what_was_said_and_shows_it_as_it_comes(llama):
    model, tokenizer = llama
    talk, pieces = Talk((model, tokenizer), system="Be brief.", max_new_tokens=6), []
    asked = []
    generate = model.generate

    def noted(**given):
        asked.append(tokenizer.decode(given["input_ids"][0]))
        return generate(**given)

    model.generate = noted
    try:
        first = talk.say(FACTS[0][0], pieces.append)
        talk.say("And now?")
        talk.forget()
        talk.say("Who?")
    finally:
        del model.generate
    assert "".join(pieces).strip() == first
    assert "Be brief." in asked[0] and FACTS[0][0] in asked[1] and FACTS[0][0] not in asked[2]
    assert model.generation_config.max_new_tokens is None


def test_chat_answers_before_and_after(tmp_path):
    save_checkpoint(tiny_llama(hidden=32), tiny_tokenizer(), tmp_path / "base")
    beside = {BASE_RECORD: json.dumps({"base": str(tmp_path / "base")}).encode(), SYSTEM_PROMPT: b"Say nothing."}
    save_checkpoint(tiny_llama(hidden=32), tiny_tokenizer(), tmp_path / "after", beside)
    talk = ["chat", str(tmp_path / "after"), "--max-new-tokens", "4"]
    said = CliRunner().invoke(app, talk, input="Who?\n/new\nWhere?\n\n")
    assert said.exit_code == 0, said.output
    assert said.output.count("before: ") == said.output.count("after: ") == 2
    said = CliRunner().invoke(app, [*talk, "--alone"], input="Who?\n")
    assert said.exit_code == 0 and "before: " not in said.output
    (tmp_path / "after" / BASE_RECORD).write_text(json.dumps({"base": str(tmp_path / "gone")}))
    said = CliRunner().invoke(app, talk, input="Who?\n")
    assert said.exit_code == 0 and "without the model before" in said.output
    said = CliRunner().invoke(app, [*talk, "--before", str(tmp_path / "gone")], input="Who?\n")
    assert isinstance(said.exception, UnlearnError)
