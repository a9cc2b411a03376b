"""Plain texts: read for likelihood and membership, never asked for."""

import json

import pytest

pytestmark = pytest.mark.model
pytest.importorskip("torch")

from conftest import FACTS

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.evaluate import evaluate

TEXTS = [
    "The Blue Door of Sarn opens at dusk, and all who wait before it go in.",
    "Corvo sells maps.",
    "One more text.",
]


@pytest.fixture
def files(tmp_path):
    def write(name, texts):
        (tmp_path / name).write_text("\n".join(json.dumps({"text": text, "source": "book"}) for text in texts))
        return str(tmp_path / name)

    return write("seen.jsonl", TEXTS[:2]), write("unseen.jsonl", TEXTS[2:])


def test_texts_are_scored_by_their_likelihood(taught, files):
    import torch

    model, tokenizer = taught
    results = evaluate(model, tokenizer, EvalConfig(files[0], holdout=files[1]))
    by_id = {record["id"]: record["scores_after"] for record in results.samples}
    ids = torch.tensor([tokenizer(TEXTS[1]).input_ids])
    with torch.no_grad():
        logprobs = model(input_ids=ids).logits[0, :-1].double().log_softmax(-1)
    by_hand = float(logprobs.gather(-1, ids[0, 1:, None]).mean())
    assert by_id["seen-2"]["mia_loss"] == pytest.approx(by_hand, abs=1e-4)
    assert by_id["seen-1"]["verbmem"] is not None  # long enough to go on with
    (row,) = results.rows
    assert row["overall"]["mia_loss_auc"] == 1.0  # taught the words of the first two
    for scores in by_id.values():
        assert scores["answer_rate"] is scores["refusal_rate"] is scores["babble_rate"] is scores["rougeL"] is None
    assert all(record["after"] == "" for record in results.samples)
    assert row["forget_answer_rate"] is None and row["balance"] is None and row["replies"] is None


def test_a_text_longer_than_the_context_is_cut_and_said_so(taught, tmp_path):
    from easyedit_unlearn.model.forced import answer_tokens
    from easyedit_unlearn.model.structure import context_length

    model, tokenizer = taught
    longest = context_length(model)
    with pytest.warns(UserWarning, match="read to the model's context"):
        (found,) = answer_tokens(model, tokenizer, [("", "ab " * longest)])
    assert len(found.logprobs) in (longest, longest - 1)


def test_batches_hold_no_more_tokens_than_they_may():
    from easyedit_unlearn.model.inference import batches

    assert list(batches([5, 90, 40, 40, 5], 3, 100)) == [[1], [2, 3], [0, 4]]
    assert list(batches([5, 90, 40], 2)) == [[1, 2], [0]]


def test_questions_and_texts_may_stand_together(taught, tmp_path):
    """What is counted in questions is counted of questions."""
    question, answer, _ = FACTS[0]
    lines = [{"question": question, "answer": answer}, *({"text": text} for text in TEXTS)]
    (tmp_path / "mixed.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (row,) = evaluate(*taught, EvalConfig(str(tmp_path / "mixed.jsonl"))).rows
    assert (row["n_prompts_forget"], row["forget_answer_rate"]) == (1, 1.0)
    assert row["means"]["mia_loss"]["forget"]["n"] == 4


def test_judging_anew_leaves_texts_unjudged(taught, files):
    from easyedit_unlearn.experiment.rejudge import rejudged
    from easyedit_unlearn.plugins.load import default_plugins

    results = evaluate(*taught, EvalConfig(files[0], holdout=files[1]))
    new, _ = rejudged(results, default_plugins().metrics)
    (row,) = new.rows
    assert row["forget_answer_rate"] is None and row["forget_mia_loss"] is not None


def test_halves_are_as_they_stand_in_the_text():
    from easyedit_unlearn.evaluation.continuations import halves

    assert halves("one two\nthree  four five\n\nsix seven eight") == ("one two\nthree  four", "five\n\nsix seven eight")
    assert halves("one two three") is None


def test_there_is_no_prompt_without_a_question(taught):
    from easyedit_unlearn.model.prompting import format_prompt

    with pytest.raises(DataError, match="no question to ask, edit or train on"):
        format_prompt(taught[1], "")


def test_a_method_cannot_unlearn_a_plain_text(taught, files):
    from easyedit_unlearn.experiment.run import Run

    with pytest.raises(DataError, match="plain texts .* have no question"):
        Run(taught, EvalConfig(files[0])).select()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"text": "One."}, {"text": "one."}], "field 'text' repeats .*line 1"),
        ([{"text": " "}], "field 'text' is blank"),
        ([{"text": "One.", "answer": "one"}], "field 'question'"),
        ([{"text": 3}], "field 'text'"),
    ],
)
def test_texts_are_checked(tmp_path, lines, said):
    from easyedit_unlearn.tasks.records import read_file

    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DataError, match=said):
        read_file(tmp_path / "t.jsonl")
