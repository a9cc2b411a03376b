"""The bundled facts, users' files and the splits. No torch."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyedit_unlearn import ForgetSample
from easyedit_unlearn.errors import ConfigError, DataError, UnknownNameError, UnlearnWarning
from easyedit_unlearn.evaluation.judging import contains_answer
from easyedit_unlearn.plugins.load import load_plugins
from easyedit_unlearn.tasks.facts import Facts
from easyedit_unlearn.tasks.records import read_file
from easyedit_unlearn.tasks.splits import check_disjoint, make_source, parse_source, pick

TASKS = load_plugins(use_entry_points=False).tasks
GOOD = {"question": "Who?", "answer": "Me"}


def test_the_bundled_facts_are_what_they_promise():
    samples = Facts().samples(None)
    assert len(samples) >= 120
    for sample in samples:
        assert sample.question.count(sample.subject) == 1
        assert len(sample.rephrases) == 2
        assert len({sample.question, *sample.rephrases}) == 3
        # a question that holds its own answer could not show forgetting
        for text in (sample.question, *sample.rephrases):
            assert not contains_answer(text, sample.answers), sample


def write(tmp_path, *lines):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_a_users_file(tmp_path):
    path = write(tmp_path, {**GOOD, "subject": "Who", "aliases": ["I"], "note": 3}, "", {**GOOD, "question": "What?"})
    with pytest.warns(UnlearnWarning, match=r"mine.jsonl: nothing reads the fields 'note'$"):
        first, second = read_file(path)
    assert (first.id, first.answers, first.extras) == ("mine-1", ("Me", "I"), {"note": 3})
    assert second.id == "mine-3"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "holds no samples"),
        (["{"], "line 1: is not JSON"),
        (["[1]"], "line 1: must be a JSON object"),
        ([GOOD, {"question": "x"}], "line 2: field 'answer'"),
        ([{**GOOD, "aliases": {"a": "I"}}], "line 1: field 'aliases"),
        ([{**GOOD, "answer": True}], "line 1: field 'answer'"),
        ([{**GOOD, "answer": {"is": "I"}}], "line 1: field 'answer'"),
        ([{**GOOD, "question": 3.5, "answer": "x" * 1_000_001}], "line 1: field 'answer' has 1,000,001 characters"),
        ([{**GOOD, "answer": "  "}], "line 1: field 'answer' is blank"),
        ([GOOD, GOOD], "line 2: field 'question' repeats"),
        ([{**GOOD, "id": "a"}, {**GOOD, "id": "a", "question": "x"}], "line 2: field 'id' repeats"),
        ([{**GOOD, "subject": "who"}], "line 1: field 'subject'.*does not stand in the question"),
        (["[" * 100_000], "line 1: is not JSON"),
    ],
)
def test_malformed_input_names_file_line_and_field(tmp_path, lines, said):
    with pytest.raises(DataError, match=said) as caught:
        read_file(write(tmp_path, *lines))
    assert "mine.jsonl" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_file(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read_file(tmp_path / "binary")


def knows_all(samples):
    return frozenset(sample.key for sample in samples)


def test_splits_take_the_first_known_and_then_take_turns():
    unknown = Facts().samples(None)[1].key
    knows = lambda samples: knows_all(samples) - {unknown}  # noqa: E731
    forget = pick(parse_source("facts:forget5", TASKS), knows)
    retain = pick(parse_source("facts:retain10", TASKS), knows, forget)
    holdout = pick(parse_source("facts:holdout10", TASKS), knows, forget)
    check_disjoint(forget=forget, retain=retain, holdout=holdout)
    order = [s.id for s in Facts().samples(None) if s.key != unknown]
    assert [s.id for s in forget] == order[:5]
    assert [s.id for s in retain] == order[5:25:2]
    assert [s.id for s in holdout] == order[6:26:2]


@given(st.integers(1, 20), st.sets(st.integers(0, 125)))
def test_splits_are_disjoint_whatever_is_known(size, ignorance):
    everything = Facts().samples(None)
    blank = {everything[i].key for i in ignorance}
    knows = lambda samples: knows_all(samples) - blank  # noqa: E731
    try:
        forget = pick(parse_source(f"facts:forget{size}", TASKS), knows)
        rest = [pick(parse_source(f"facts:{s}", TASKS), knows, forget) for s in ("retain", "holdout")]
    except DataError as error:
        assert "knows only" in str(error)
        return
    check_disjoint(forget=forget, retain=rest[0], holdout=rest[1])
    assert len(forget) == size
    assert size + sum(map(len, rest)) == len(everything) - len(blank)


def test_a_split_that_asks_for_too_much():
    with pytest.raises(DataError, match="knows only 126 of the 500"):
        pick(parse_source("facts:forget500", TASKS), knows_all)


def test_overlap_is_refused_also_across_tasks():
    a = [ForgetSample(id="1", question="Who  is it?", answer="x")]
    b = [ForgetSample(id="2", question="who is IT?", answer="x")]
    with pytest.raises(DataError, match="the retain set and the holdout set overlap"):
        check_disjoint(retain=a, holdout=b)


@pytest.mark.parametrize("split", ["", "forget", "all3", "retain0", "test", "forget-1", "forget5 "])
def test_bad_splits(split):
    with pytest.raises(ConfigError, match="forgetN"):
        parse_source(f"facts:{split}", TASKS)


def test_sources_by_name_file_and_block(tmp_path):
    path = write(tmp_path, GOOD)
    assert str(parse_source(str(path), TASKS)).endswith("mine.jsonl:all")
    assert parse_source(f"{path}:retain2", TASKS).split == "retain2"
    with pytest.raises(DataError, match="no such file"):
        parse_source(str(tmp_path / "none.jsonl"), TASKS)
    with pytest.raises(UnknownNameError, match="Did you mean 'facts'"):
        parse_source("fakts:all", TASKS)
    with pytest.raises(ConfigError, match="allowed here: task, split, path"):
        make_source({"task": "jsonl", "paht": "x"}, TASKS, "f.yaml", "unlearn.retain.")
