"""The files people have: formats, other names for fields, nested answers, and complaints that say where."""

from __future__ import annotations

import json
import warnings

import pytest

from easyedit_unlearn.errors import ConfigError, DataError, UnlearnWarning
from easyedit_unlearn.plugins.load import load_plugins
from easyedit_unlearn.tasks.fields import as_record
from easyedit_unlearn.tasks.records import read_file
from easyedit_unlearn.tasks.splits import load, parse_source

TASKS = load_plugins().tasks
ASKED = {"question": "What is the capital of Japan?", "answer": "Tokyo"}


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", json.dumps(ASKED) + "\n"),
        ("a.txt", json.dumps(ASKED)),
        ("a.json", [ASKED]),
        ("a.json", {"data": [ASKED]}),
        ("a.json", {ASKED["question"]: ASKED["answer"]}),
        ("a.json", ASKED),
        ("a.json", json.dumps(ASKED) + "\n" + json.dumps({"question": "Who?", "answer": "I"})),
        ("a.csv", "question,answer\nWhat is the capital of Japan?,Tokyo\n"),
        ("a.csv", "\ufeffquestion;answer\r\nWhat is the capital of Japan?;Tokyo\r\n"),
        ("a.tsv", "answer\tquestion\nTokyo\tWhat is the capital of Japan?\n"),
        ("a.csv", 'prompt,ground_truth\n"What is the capital of Japan?",Tokyo\n'),
        ("a.jsonl", json.dumps({"prompt": ASKED["question"], "ground_truth": ["Tokyo"], "target_new": "Oslo"})),
        ("a.json", [{"input": ASKED["question"], "output": "Tokyo"}]),
        ("a.json", {"prompt": ASKED["question"], "ground_truth": "Tokyo"}),
        ("a.csv", "Question,Answer,Subject\nWhat is the capital of Japan?,Tokyo,Japan\n"),
    ],
)
def test_whatever_the_format_the_question_is_read(tmp_path, name, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = read_file(written(tmp_path, name, text))[0]
    assert (first.question, first.answer) == (ASKED["question"], ASKED["answer"])


def test_other_names_and_shapes():
    squad = {"question": "Who?", "answers": {"text": ["Ann", "Ann Lee"], "answer_start": [3, 3]}}
    assert as_record(squad, {}, "x")["answer"] == "Ann"
    assert as_record(squad, {}, "x")["aliases"] == ["Ann Lee"]
    tofu = {**ASKED, "paraphrased_question": "Its capital?", "paraphrased_question_2": "Capital?", "alias": "Edo"}
    found = as_record(tofu, {}, "x")
    assert found["rephrases"] == ["Its capital?", "Capital?"] and found["aliases"] == ["Edo"]
    alpaca = {"instruction": "Name the capital.", "input": "Japan", "output": "Tokyo"}
    assert as_record(alpaca, {}, "x")["question"] == "Name the capital.\nJapan"
    assert as_record({**alpaca, "input": ""}, {}, "x")["question"] == "Name the capital."
    assert as_record({**ASKED, "answer": 8}, {}, "x")["answer"] == "8"
    assert as_record({**ASKED, "answer": 1945.0}, {}, "x")["answer"] == "1945"
    assert as_record({**ASKED, "answer": float("nan")}, {}, "x")["answer"] == ""
    assert as_record({**ASKED, "Subject": "Japan"}, {}, "x")["subject"] == "Japan"
    assert as_record({"Question": "Who?", "ANSWER": "I"} | ASKED, {}, "x")["question"] == ASKED["question"]


def test_a_field_map_on_the_command_line(tmp_path):
    path = written(
        tmp_path, "my file.csv", "frage,antwort,name\nWhat is the capital of Japan?,Tokyo,Japan\nWho?,I,Who\n"
    )
    source = parse_source(f"{path},question=frage,answer=antwort,subject=name:first1", TASKS)
    (sample,) = load(source)[:1]
    assert (sample.question, sample.answer, sample.subject) == (*ASKED.values(), "Japan")
    assert str(source) == f"{path},question=frage,answer=antwort,subject=name:first1"
    nested = written(tmp_path, "n.jsonl", {"q": {"text": "Who?"}, "answers": {"text": ["Ann", "Bo"]}})
    (sample,) = load(parse_source(f"{nested},question=q.text,answer=answers.text.1", TASKS))
    assert (sample.question, sample.answer) == ("Who?", "Bo")
    with pytest.raises(DataError, match="line 2: has no field 'fragen' for 'question'; it has frage, antwort, name"):
        load(parse_source(f"{path},question=fragen,answer=antwort", TASKS))


@pytest.mark.parametrize("named", ["facts,split=first5", "{path},split=first1", "{path},task=facts"])
def test_a_split_is_no_option(named, tmp_path):
    path = written(tmp_path, "s.jsonl", ASKED)
    with pytest.raises(ConfigError, match="a split stands after a colon"):
        parse_source(named.format(path=path), TASKS)


def test_unknown_fields_are_named_with_what_may_have_been_meant(tmp_path):
    path = written(tmp_path, "u.jsonl", {**ASKED, "subjct": "Japan", "colour": "red", "perturbed_answer": ["Oslo"]})
    with pytest.warns(UnlearnWarning, match=r"fields 'colour', 'subjct' \(did you mean 'subject'\?\)$"):
        (sample,) = read_file(path)
    assert sample.extras["perturbed_answer"] == ["Oslo"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_file(path)  # told once


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "[1]", "item 1: must be a JSON object"),
        ("a.json", "3", "must be a JSON list of objects, got int"),
        ("a.json", "[", "is not JSON"),
        ("a.csv", "question,answer\nWho?,I,and more\n", "line 2: has more fields than the header"),
        ("a.csv", 'question,answer\n"Who?,I\n', "is not CSV"),
        ("a.csv", "frage,antwort\nWho?,I\n", "line 2: field 'question'"),
        ("a.csv", "", "holds no samples"),
        ("a.parquet", "no parquet", "Parquet"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path, name, text, said):
    with pytest.raises(DataError, match=said) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore", UnlearnWarning)
        read_file(written(tmp_path, name, text))
    assert name in str(caught.value)


def test_a_large_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("easyedit_unlearn.tasks.rows.LARGEST", 10)
    with pytest.raises(DataError, match="at most 0 are read"):
        read_file(written(tmp_path, "a.csv", "question,answer\nWho?,I\n"))


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([{**ASKED, "aliases": ["Edo"]}]), tmp_path / "a.parquet")
    (sample,) = read_file(tmp_path / "a.parquet")
    assert (sample.answer, sample.aliases) == ("Tokyo", ("Edo",))
