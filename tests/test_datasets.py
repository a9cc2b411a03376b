"""PISTOL, KnowUnDo, zsRE and TOFU's two sets of real facts: what is read, and how subjects are found. No torch."""

from __future__ import annotations

import json

import pytest
from test_factual import DATA

from easyedit_unlearn.errors import ConfigError, DataError
from easyedit_unlearn.evaluation.judging import gives_answer
from easyedit_unlearn.plugins.load import load_plugins
from easyedit_unlearn.tasks.records import check_samples
from easyedit_unlearn.tasks.splits import load, parse_source
from easyedit_unlearn.tasks.subjects import named_span, ranked_names, standing_once

TASKS = load_plugins(use_entry_points=False).tasks


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("Who wrote the play 'Romeo and Juliet'?", "Romeo and Juliet"),
        ("Which Indian author is known for the book 'Midnight's Children'?", "Midnight's Children"),
        ("Who led the Soviet Union during the Cuban Missile Crisis?", "Cuban Missile Crisis"),
        ("Who is the author born in Oslo?", None),  # a place, where a person is asked about
        ("What is the capital of Norway?", "Norway"),
        ("Where would you find the Eiffel Tower's lift?", "Eiffel Tower"),
        ("Is Ann Lee older than Bo Ray and Ann Lee?", "Bo Ray"),  # what stands twice is no subject
        ("What is the largest desert?", None),
    ],
)
def test_the_named_span_of_a_question_on_its_own(question, subject):
    assert named_span(question) == subject


def test_the_name_most_texts_share_comes_first():
    names = ranked_names(["Ann Lee lives at Elm Street.", "Is Ann Lee there?", "Elm Street is long.", "Ann Lee won."])
    assert names == ["Ann Lee", "Elm Street"]
    assert standing_once("Does Ann Lee like Elm Street?", names) == "Ann Lee"
    assert standing_once("Where is Elm Street?", names) == "Elm Street"
    assert standing_once("Ann Lee and Ann Lee?", names) is None


@pytest.fixture
def dataset():
    if not (DATA / "zsre").is_dir():
        pytest.skip("needs the data directory: set EASYEDIT_UNLEARN_DATA")

    def read(text):
        task, _, options = text.partition(",")
        samples = load(parse_source(f"{task},data_dir={DATA}{',' * bool(options)}{options}", TASKS))
        check_samples(samples, [sample.id for sample in samples], text)
        return samples

    return read


def test_pistol_is_cut_by_contract(dataset):
    whole, one, rest = dataset("pistol"), dataset("pistol,edge=A_B"), dataset("pistol,without=A_B")
    assert (len(whole), len(one), len(rest)) == (400, 20, 380)
    assert {s.key for s in one} | {s.key for s in rest} == {s.key for s in whole}
    assert {s.subject for s in one} == {"Wnzatj SAS", "Jzrcws SA"}
    assert sum(s.subject == "Wnzatj SAS" for s in one) == 19  # the other question names the other party alone
    assert all(s.subject and s.extras["edge"] for s in whole)
    assert all(len(set(s.rephrases)) == 2 and s.question not in s.rephrases for s in whole)
    assert all(not gives_answer(text, s.question, s.answers) for s in one for text in s.rephrases if len(s.answer) > 4)
    assert all(name in text for s in one for name in ["Wnzatj SAS", "Jzrcws SA"] if name in s.question
               for text in s.rephrases)  # fmt: skip
    assert {s.extras["edge"] for s in dataset("pistol,edge=B_D+A_B")} == {"A_B", "B_D"}
    with pytest.raises(DataError, match=r"no edge 'A_Z' to take for 'edge': A_B, "):
        dataset("pistol,edge=A_Z")


def test_people_have_names_and_neighbours(dataset):
    forget, others = dataset("people"), dataset("people,subset=neighbor")
    assert (len(forget), len(others)) == (100, 100)
    assert sum(s.subject is not None for s in [*forget, *others]) >= 190  # "the band" has none
    assert all(s.rephrases and s.extras["perturbed_answer"] for s in [*forget, *others])


def test_private_data_is_what_counts_as_the_answer(dataset):
    samples = dataset("pii")
    assert len(samples) == 20 and {len(s.rephrases) for s in samples} == {5}
    assert all(s.aliases and s.subject and s.extras["inverted_question"] for s in samples)
    with pytest.raises(DataError, match=r"'\.\./tofu/forget01\.jsonl' is no file name"):
        dataset("pii,file=../tofu/forget01.jsonl")


def test_muse_asks_once(dataset):
    sizes = [len(dataset(f"muse,corpus={corpus},subset={subset}")) for corpus in ("news", "books")
             for subset in ("forget", "retain")]  # fmt: skip
    assert sizes == [100, 100, 98, 93]  # of 100 each


def test_another_file_of_a_folder_may_be_named(dataset):
    assert len(dataset("knowundo,file=privacy_retention_val.json")) == 108
    assert len(dataset("pistol,file=pistol_sample1.json,edge=A_B")) == 20


def test_knowundo_is_about_authors(dataset):
    forget, retain = dataset("knowundo"), dataset("knowundo,subset=retention")
    assert (len(forget), len(retain)) == (110, 108)
    assert forget[0].subject == "Isabella Marquez"  # not "Walter Village", where she lives
    assert "Isaac Goldberg" in {s.subject for s in retain}  # not the "Quantum Creativity Award"
    assert [s.question for s in [*forget, *retain] if s.subject is None] == [
        "What is the significance of 221B Baker St in literary history?"
    ]


def test_zsre_holds_the_true_answer_and_what_editing_is_measured_by(dataset):
    samples = dataset("zsre")
    assert len(samples) == 1037
    first = samples[0]
    assert (first.answer, first.subject, len(first.rephrases)) == ("1998", "IAAF Combined Events Challenge", 1)
    assert first.extras["alternative"] == "2006"
    assert first.extras["locality"] == {
        "question": "what is the name of the last episode of spongebob",
        "answer": "The String",
    }
    assert first.extras["portability"]["answer"] == "Athletics"
    assert all(s.subject and s.question.count(s.subject) == 1 for s in samples)


@pytest.mark.parametrize(("subset", "count", "without"), [("real_authors", 100, 2), ("world_facts", 117, 26)])
def test_tofus_real_facts_have_wrong_answers_beside_them(subset, count, without, dataset):
    samples = dataset(f"tofu,subset={subset}")
    assert len(samples) == count
    assert all(len(s.extras["perturbed_answer"]) == 3 for s in samples)
    assert sum(s.subject is None for s in samples) == without


@pytest.mark.parametrize(
    ("task", "name", "row", "complaint"),
    [
        ("pistol", "pistol/pistol_sample1.json", {"question": "Who?", "answer": "Ann"}, r"item 0: needs 'edge'"),
        ("knowundo", "knowundo/privacy_unlearn_val.json", {"text": "Who?", "labels": " "}, r"item 0: needs 'text'"),
        ("zsre", "zsre/zsre_mend_eval_portability_gpt4.json", {"src": "Who?"}, r"item 0: field 'subject': Field"),
    ],
)
def test_malformed_rows_are_named(task, name, row, complaint, tmp_path):
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(json.dumps([row]))
    with pytest.raises(DataError, match=complaint):
        load(parse_source(f"{task},data_dir={tmp_path}", TASKS))
    with pytest.raises(ConfigError, match="subset"):
        parse_source("knowundo,subset=all", TASKS)
