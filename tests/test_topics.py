"""Questions about a topic: parsed, told apart, kept where they are answered alike."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

pytestmark = pytest.mark.model
pytest.importorskip("torch")

from conftest import FACTS, tiny_tokenizer, write_hparams

from easyedit_unlearn import Topic
from easyedit_unlearn.cli import app
from easyedit_unlearn.errors import DataError, UnknownNameError
from easyedit_unlearn.experiment import topics
from easyedit_unlearn.experiment.choosing import source_of
from easyedit_unlearn.experiment.topics import (
    distinct,
    names_in,
    neighbours_of,
    parsed,
    with_rephrases,
    write_questions,
)
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.types import ForgetSample


def test_questions_are_read_out_of_a_list():
    text = (
        "Sure! Here are ten questions:\n1. Where was Marie Curie born? (Warsaw)\n2) What did Marie Curie discover?\n"
        '- "In which year did Marie Curie die?"\nQ4: Who was marie curie?\nWhat is radium?\nShe was born in Warsaw.\n'
        + "Did Marie Curie "
        + "very " * 30
        + "work?"
    )
    assert parsed(text, "Marie Curie") == [
        "Where was Marie Curie born?", "What did Marie Curie discover?", "In which year did Marie Curie die?",
        "Who was marie curie?",
    ]  # fmt: skip


def test_a_topic_stands_as_words_of_its_own():
    assert parsed("What is the capital of Canada?\nWho is ada Lovelace?", "Ada") == ["Who is ada Lovelace?"]
    assert topics.standing("Ada", "Who is ada Lovelace?") == "ada"
    assert topics.standing("Beyonc\u00e9", "Who is Beyonce married to?") is None


def test_what_is_all_but_one_question_is_one():
    asked = ["Where was Marie Curie born?", "Where was the marie curie born ?", "When was Marie Curie born?"]
    assert distinct(asked) == [asked[0], asked[2]]
    assert distinct(asked, ["When was Marie Curie born?"]) == [asked[0]]


@pytest.mark.host
def test_a_topic_in_one_command(taught_path, facts_file, tmp_path, monkeypatch):
    """The tiny model cannot write; what it would have written stands in for that, and all else is real."""
    from easyedit_unlearn.cli import questions

    about = [ForgetSample(str(n), question, answer) for n, (question, answer, _) in enumerate(FACTS[:2])]
    again = [ForgetSample("8", "And Arda's capital?", FACTS[0][1])]
    monkeypatch.setattr(questions, "asked_about", lambda *_a, **_k: (about, again))
    others = [ForgetSample("9", *FACTS[5][:2])]
    monkeypatch.setattr(questions, "neighbours_of", lambda *_a, **_k: others)
    hparams = write_hparams(tmp_path / "g.yaml", "GradDiff", "{prompt: chat}", learning_rate=5e-4, num_train_epochs=2)
    start = ["run", str(hparams), "--model", str(taught_path), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*start, "--topic", "Arda", "--retain", f"{facts_file}:retain2"])
    assert done.exit_code == 0, done.output
    assert "Arda: 2 questions" in done.output
    written = [json.loads(line) for line in (tmp_path / "out" / "topic.jsonl").read_text().splitlines()]
    assert [row["question"] for row in written] == [sample.question for sample in about]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {one["group"] for one in results["samples"]} == {"forget", "retain", "holdout", "again"}
    for wrong in ([], ["--topic", "Arda", "--forget", "facts:forget1"]):
        said = CliRunner().invoke(app, [*start, *wrong, "--overwrite"])
        assert "--forget TASK[:SPLIT]|FILE, or --topic NAME" in str(said.exception)


def test_names_in_a_list():
    text = "1. Albert Einstein - a physicist\n2. **Lise Meitner**\nMarie Curie\nothers like them\n3. Paris (city)"
    assert names_in(text, "Marie Curie") == ["Albert Einstein", "Lise Meitner", "Paris"]


@pytest.fixture
def said(monkeypatch):
    """What the model samples, and says greedily, by what is asked."""
    sampled, greedy = {}, {}

    def draw(_pair, prompts, count, *_more):
        return [text for prompt in prompts for text in (sampled.get(prompt, [""]) * count)[:count]]

    monkeypatch.setattr(topics, "_sampled", draw)
    monkeypatch.setattr(topics, "ask_all", lambda *a, **k: [greedy.get(s.question, "") for s in a[2]])
    return sampled, greedy


BORN, FOUND, DIED = "Where was Marie Curie born?", "What did Marie Curie find?", "When did Marie Curie die?"


def test_a_question_is_kept_where_it_is_answered_alike(said):
    sampled, greedy = said
    sampled[topics.ASKING[0].format(topic="Marie Curie")] = [f"1. {BORN}\n2. {FOUND}\n3. {DIED}"]
    greedy.update({BORN: "She was born in Warsaw.", FOUND: "She found Radium.", DIED: "I'm sorry, but I can't say."})
    sampled[BORN], sampled[FOUND] = ["In Warsaw.", "Warsaw, Poland."], ["Polonium.", "The moon."]
    (kept,) = write_questions((None, tiny_tokenizer()), Topic("Marie Curie"))
    assert (kept.question, kept.answer, kept.subject) == (BORN, "Warsaw", "Marie Curie")
    with pytest.raises(DataError, match="writes no questions about 'Bo'"):
        write_questions((None, tiny_tokenizer()), Topic("Bo"))
    sampled[topics.AGAIN[0].format(topic="Marie Curie")] = [f"{BORN}\nIn which city was Marie Curie born?"]
    greedy["In which city was Marie Curie born?"] = "Warsaw."
    sampled["In which city was Marie Curie born?"] = ["Warsaw."]
    (second,) = write_questions((None, tiny_tokenizer()), Topic("Marie Curie"), again=True, avoiding=[kept])
    assert (second.id, second.question) == ("again-1", "In which city was Marie Curie born?")


def test_rephrases_name_the_subject_and_give_nothing_away(said):
    sampled, _ = said
    sample = ForgetSample("1", BORN, "Warsaw", subject="Marie Curie")
    sampled[topics.REWORDING.format(question=BORN)] = [
        "What is the birthplace of Marie Curie?", "Was Marie Curie born in Warsaw?", "Where was she born?", BORN,
    ]  # fmt: skip
    (found,) = with_rephrases((None, tiny_tokenizer()), [sample])
    assert found.rephrases == ("What is the birthplace of Marie Curie?",)
    own = ForgetSample("2", "Who?", "I", rephrases=("Who is it?",))
    assert with_rephrases((None, tiny_tokenizer()), [own]) == [own]


def test_neighbours_are_named_by_the_model(said):
    sampled, greedy = said
    sampled[topics.LIKE.format(topic="Marie Curie")] = ["Lise Meitner\nNobody"]
    sampled[topics.ASKING[0].format(topic="Lise Meitner")] = ["Where was Lise Meitner born?"]
    greedy["Where was Lise Meitner born?"] = "In Vienna."
    sampled["Where was Lise Meitner born?"] = ["Vienna."]
    (found,) = neighbours_of((None, tiny_tokenizer()), Topic("Marie Curie"))
    assert (found.question, found.answer, found.subject) == ("Where was Lise Meitner born?", "Vienna", "Lise Meitner")


def test_the_command_writes_a_file_to_edit(said, tmp_path, monkeypatch):
    sampled, greedy = said
    monkeypatch.setattr("easyedit_unlearn.cli.questions.load_model", lambda *_a, **_k: (None, tiny_tokenizer()))
    sampled[topics.ASKING[0].format(topic="Marie Curie")] = [BORN]
    greedy[BORN] = "Warsaw."
    sampled[BORN] = ["Warsaw."]
    out = tmp_path / "marie.jsonl"
    done = CliRunner().invoke(app, ["questions", "Marie Curie", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text()) == {"question": BORN, "answer": "Warsaw", "subject": "Marie Curie"}
    assert CliRunner().invoke(app, ["questions", "Marie Curie", "--out", str(out)]).exit_code != 0  # it is there


def test_a_name_is_offered_as_a_topic():
    with pytest.raises(UnknownNameError, match=r"Topic\('Marie Curie'\)"):
        source_of("Marie Curie", (None, tiny_tokenizer()), default_plugins(), "forget")
