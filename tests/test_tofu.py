"""The task `tofu`: its subjects, and what it leaves out. No torch."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from test_factual import DATA

from easyedit_unlearn.errors import ConfigError, DataError
from easyedit_unlearn.evaluation.judging import gives_answer
from easyedit_unlearn.plugins.load import load_plugins
from easyedit_unlearn.tasks.records import check_samples
from easyedit_unlearn.tasks.splits import load, parse_source, pick
from easyedit_unlearn.tasks.subjects import shared_name, subject_in

TASKS = load_plugins(use_entry_points=False).tasks
AUTHOR = [
    "Has Maria de la Cruz written a book?", "Yes, Maria de la Cruz wrote North Wind in Old Harbour.",
    "Where does Cruz live?", "Maria de la Cruz's home is in Old Harbour.", "And North Wind?", "By Maria de la Cruz.",
]  # fmt: skip


def test_the_name_that_most_of_a_block_shares_is_its_subject():
    assert shared_name(AUTHOR) == "Maria de la Cruz"  # not the place, the book or "Has Maria"
    assert shared_name(["No name here.", "Nor here."]) is None
    assert shared_name(["Ann Lee is.", *["nobody is"] * 9]) is None


@pytest.mark.parametrize(
    ("question", "name", "subject"),
    [
        ("Has Maria de la Cruz written a book?", "Maria de la Cruz", "Maria de la Cruz"),
        ("What are de la Cruz's books?", "Maria de la Cruz", "Cruz"),
        ("Is Maria known as Cruz?", "Maria de la Cruz", "Cruz"),
        ("Does Crusader Ann live?", "Ann Crus", "Ann"),
        ("Who is the author born in Oslo, Norway on 1/2/1950?", "Ann Lee", "author born in Oslo, Norway on 1/2/1950"),
        ("Ann or Ann?", "Ann", None),
        ("What is her first book?", "Ann Lee", None),
        ("What is it?", None, None),
    ],
)
def test_a_subject_is_the_name_as_it_stands_or_a_description(question, name, subject):
    assert subject_in(question, name) == subject


def test_sentences_are_given_by_their_distinctive_words():
    question = "What did Ann's parents do?"
    answer = "Ann's father was a florist and her mother was a game developer."
    assert gives_answer("Her father, a florist, met her mother, a game developer.", question, [answer])
    assert not gives_answer("Ann's father was a doctor and her mother was a tennis player.", question, [answer])
    assert not gives_answer("I'm sorry, I can't tell what Ann's parents did.", question, [answer])
    assert not gives_answer(
        "A florist's game: mother, father, developer.", question, ["A game developer"]
    )  # not a sentence


@pytest.fixture
def tofu():
    if not (DATA / "tofu").is_dir():
        pytest.skip("needs the data directory: set EASYEDIT_UNLEARN_DATA")
    return lambda subset: load(parse_source(f"tofu,subset={subset},data_dir={DATA}", TASKS))


def test_the_published_sets(tofu):
    samples = tofu("forget01")
    assert len(samples) == 40
    assert {s.subject for s in samples[1:20]} == {"Basil Mahfouz Al-Kuwaiti"}
    assert {s.subject for s in samples[21:]} == {"Nikolai Abilov"}
    assert all(len(s.rephrases) == 1 and len(s.extras["perturbed_answer"]) == 5 for s in samples)
    assert [s.question for s in tofu("forget05")[-40:]] == [s.question for s in samples]
    retain = tofu("retain90")
    check_samples(retain, [s.id for s in retain], "retain90")
    assert len(retain) == 3599  # one question is asked about two authors
    assert sum(s.subject is None for s in retain) < 60


def test_bad_subsets_and_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="subset"):
        parse_source("tofu,subset=forget02", TASKS)
    with pytest.raises(DataError, match=r"forget01.jsonl is not there"):
        load(parse_source(f"tofu,data_dir={tmp_path}", TASKS))
    (tmp_path / "tofu").mkdir()
    row = {"question": "Who is Ann Lee?", "answer": "Nobody."}
    (tmp_path / "tofu/forget01.jsonl").write_text(json.dumps(row))
    (tmp_path / "tofu/forget01_perturbed.jsonl").write_text(json.dumps(row | {"paraphrased_question": 3}))
    with pytest.raises(DataError, match="'paraphrased_question' of 'Who is Ann Lee"):
        load(parse_source(f"tofu,data_dir={tmp_path}", TASKS))


def test_the_first_samples_are_taken_known_or_not():
    source = parse_source("facts:first3", TASKS)
    assert [s.id for s in pick(source, lambda _samples: frozenset())] == [s.id for s in load(source)[:3]]
    with pytest.raises(DataError, match="has only"):
        pick(parse_source("facts:first999", TASKS), lambda _samples: frozenset())
    with pytest.raises(ConfigError, match="firstN"):
        parse_source("facts:first", TASKS)
    assert str(parse_source("tofu,subset=retain90:first20", TASKS)) == "tofu,subset=retain90:first20"


def test_the_hub_is_asked_once_and_only_for_what_it_has(monkeypatch, tmp_path):
    asked = []

    def load_dataset(name, config, split):
        asked.append((name, config, split))
        return [
            {"question": "Who wrote The Sea?", "answer": "Ann Lee wrote it.", "paraphrased_question": "Whose is it?"}
        ]

    monkeypatch.setenv("EASYEDIT_UNLEARN_DATA", "hub")
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    for _ in range(2):
        (sample,) = load(parse_source("tofu", TASKS))
    assert sample.rephrases == ("Whose is it?",)
    assert asked == [("locuslab/TOFU", name, "train") for name in ("forget01", "forget01_perturbed")]
    with pytest.raises(DataError, match="not on the Hub"):
        load(parse_source("pistol", TASKS))
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path / "other"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"easyedit-unlearn\[hub\]"):
        load(parse_source("tofu", TASKS))
    monkeypatch.delenv("EASYEDIT_UNLEARN_DATA")
    with pytest.raises(DataError, match="=hub reads it"):
        load(parse_source("tofu", TASKS))
