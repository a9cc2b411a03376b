"""Plain texts: read for likelihood and membership, never asked for."""

import json

import pytest

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


def test_a_method_cannot_unlearn_a_plain_text(taught, files):
    from easyedit_unlearn.experiment.run import Run

    with pytest.raises(DataError, match="plain texts .* have no question"):
        Run(taught, EvalConfig(files[0])).select()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"text": "One."}, {"text": "one."}], "field 'text' repeats .*line 1"),
        ([{"text": " "}], "field 'answer' is blank"),
        ([{"text": 3}], "field 'text'"),
    ],
)
def test_texts_are_checked(tmp_path, lines, said):
    from easyedit_unlearn.tasks.records import read_jsonl

    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DataError, match=said):
        read_jsonl(tmp_path / "t.jsonl")
