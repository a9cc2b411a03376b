"""The task `factual`: the data set read in place, with subjects and rephrases of our own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.judging import contains_answer
from easyedit_unlearn.tasks.factual import FILE, DataOptions, Factual, _notes
from easyedit_unlearn.tasks.records import check_samples

DATA = Path(os.environ.get("EASYEDIT_UNLEARN_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture
def data():
    if not (DATA / FILE).is_file():
        pytest.skip(f"needs {FILE}: set EASYEDIT_UNLEARN_DATA")
    return DATA


def test_every_question_has_its_subject_and_two_rephrases_that_do_not_tell(data):
    samples = Factual().samples(DataOptions(data_dir=data))
    assert len(samples) == 169
    check_samples(samples, [s.id for s in samples], "factual")
    assert samples[0].question.startswith("Who wrote the play 'Romeo")
    asked = [text for s in samples for text in (s.question, *s.rephrases)]
    assert len(set(asked)) == 3 * 169
    told = [(s.id, text) for s in samples for text in s.rephrases if contains_answer(text, s.answers)]
    assert told == []
    assert not [s.id for s in samples if contains_answer(s.subject, s.answers)]


def test_the_directory_comes_from_the_environment_or_the_options(tmp_path, monkeypatch):
    rows = [{"question": f"About {note['subject']}?", "answer": f"x{n}"} for n, note in enumerate(_notes())]
    path = tmp_path / FILE
    path.parent.mkdir()
    path.write_text(json.dumps(rows))
    monkeypatch.setenv("EASYEDIT_UNLEARN_DATA", str(tmp_path))
    assert Factual().samples(DataOptions())[5].answer == "x5"
    monkeypatch.delenv("EASYEDIT_UNLEARN_DATA")
    with pytest.raises(DataError, match="set EASYEDIT_UNLEARN_DATA"):
        Factual().samples(DataOptions())
    with pytest.raises(DataError, match="is not there"):
        Factual().samples(DataOptions(data_dir=tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("not json", "is not JSON text"),
        ('{"a": 1}', "must be a JSON list of objects"),
        ("[{}]", "has 1 questions"),
        (json.dumps([{"question": 1, "answer": "x"}] * 169), "item 0: needs 'question' and 'answer'"),
    ],
)
def test_malformed_data_is_refused(content, complaint, tmp_path):
    path = tmp_path / FILE
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(DataError, match=complaint):
        Factual().samples(DataOptions(data_dir=tmp_path))
