"""The three lines, on a tiny taught model."""

from __future__ import annotations

import json
import random
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.host

from conftest import FACTS, copied_weights, same_weights, tiny_llama, tiny_tokenizer, write_hparams

from easyedit_unlearn import ForgetSample, unlearn
from easyedit_unlearn.baselines.ascent import GradDiff
from easyedit_unlearn.errors import ConfigError, DataError, DivergenceError, OutputExistsError, UnlearnError
from easyedit_unlearn.experiment.choosing import chosen_method, nearest_first, off_topic, own_answer
from easyedit_unlearn.model.load import load_model

QUESTION, ANSWER, _ = FACTS[0]
KEEP = {"progress": False, "retain": [(question, answer) for question, answer, _ in FACTS[2:4]]}
KEEP["holdout"] = [(question, answer) for question, answer, _ in FACTS[4:]]


@pytest.fixture
def graddiff(tmp_path):
    settings = "{prompt: chat, max_new_tokens: 8}"
    return str(write_hparams(tmp_path / "g.yaml", "GradDiff", settings, learning_rate=5e-4, num_train_epochs=20))


def test_a_question_is_enough(taught, graddiff, tmp_path):
    model, tokenizer = taught
    weights = copied_weights(model)
    result = unlearn(taught, forget=[QUESTION], method=graddiff, **KEEP)
    assert result.model is model and result.tokenizer is tokenizer
    assert result.samples[0].answer == ANSWER  # the model's own
    assert result.metrics["forget_answer_rate"] == {"before": 1.0, "after": 0.0}
    assert ANSWER not in result.ask(QUESTION)
    assert not same_weights(model, weights)
    folder = result.save(tmp_path / "saved")
    loaded, _ = load_model(str(folder))
    assert same_weights(loaded, copied_weights(model))
    assert json.loads((folder / "unlearned_from.json").read_text())["method"] == "GradDiff"
    with pytest.raises(OutputExistsError):
        result.save(folder)
    assert "<script" in result.report(tmp_path / "report").read_text()
    result.undo()
    result.undo()
    assert same_weights(model, weights)
    assert ANSWER in result.ask(QUESTION)
    with pytest.raises(UnlearnError, match="undone"):
        result.save(tmp_path / "again")


def test_an_undo_that_failed_half_way_is_done_the_next_time(taught, graddiff, monkeypatch):
    model, _ = taught
    weights = copied_weights(model)
    result = unlearn(taught, forget=[(QUESTION, ANSWER)], method=graddiff, **KEEP)
    edited = copied_weights(model)
    copy, done = torch.Tensor.copy_, []

    def failing(self, other, *args):
        if len(done) == 3:
            raise MemoryError
        done.append(1)
        return copy(self, other, *args)

    monkeypatch.setattr(torch.Tensor, "copy_", failing)
    with pytest.raises(MemoryError):
        result.undo()
    monkeypatch.undo()
    assert not same_weights(model, weights) and not same_weights(model, edited)
    result.undo()
    assert same_weights(model, weights)


def test_it_shows_itself_without_trusting_its_text(taught, graddiff):
    result = unlearn(taught, forget=[(QUESTION, ANSWER)], method=graddiff, **KEEP)
    assert "forget: still given" in repr(result)
    result.why = "<script>alert(1)</script>"
    shown = result._repr_html_()
    assert "<table>" in shown and "<script>" not in shown


def test_a_memory_is_taken_off_again(taught, tmp_path):
    model, _ = taught
    changes = {"n_iter": 30, "edit_lr": 1.0, "eps": 1.0, "inner_params": ["model.layers[1].mlp.down_proj.weight"]}
    settings = "{engine: native, prompt: chat, max_new_tokens: 8, native: {fact_token: last}}"
    hparams = write_hparams(tmp_path / "grace.yaml", "GRACE", settings, **changes)
    weights = copied_weights(model)
    result = unlearn(taught, forget=[(QUESTION, ANSWER)], method=str(hparams), **KEEP)
    after = result.ask(QUESTION)
    assert same_weights(model, weights) and ANSWER not in after
    loaded, _ = load_model(str(result.save(tmp_path / "saved")))
    assert (tmp_path / "saved" / "unlearning_adapter.safetensors").is_file()
    result.undo()
    assert ANSWER in result.ask(QUESTION)


def test_what_came_later_is_undone_first(taught, graddiff):
    weights = copied_weights(taught[0])
    first = unlearn(taught, forget=[QUESTION], method=graddiff, **KEEP)
    second = unlearn(taught, forget=[FACTS[1][0]], method=graddiff, **KEEP)
    with pytest.raises(UnlearnError, match="undo what came later"):
        first.undo()
    second.undo()
    first.undo()
    assert same_weights(taught[0], weights)


def test_an_interrupt_at_the_last_moment_leaves_the_model_as_it_was(taught, graddiff, monkeypatch):
    weights = copied_weights(taught[0])

    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("easyedit_unlearn.experiment.unlearn.UnlearnResult", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unlearn(taught, forget=[QUESTION], method=graddiff, **KEEP)
    assert same_weights(taught[0], weights)


def test_calls_from_two_threads_follow_one_another(taught_weights, graddiff, monkeypatch):
    """At once, they left sys.stdout a StringIO, EasyEdit's scorer a stub, and the random state changed."""
    pairs = []
    for _ in range(3):
        pairs.append((tiny_llama(hidden=64), tiny_tokenizer()))
        pairs[-1][0].load_state_dict(taught_weights)
    alone = unlearn(pairs[0], forget=[QUESTION], method=graddiff, **KEEP)
    state = sys.stdout, list(warnings.filters), random.getstate(), torch.get_rng_state()
    both, met = threading.Barrier(2), []
    train = GradDiff.apply

    def waiting(self, job):
        with suppress(threading.BrokenBarrierError):
            both.wait(3)
            met.append(job)  # the other is within an edit too
        train(self, job)

    monkeypatch.setattr(GradDiff, "apply", waiting)
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(unlearn, pair, forget=[QUESTION], method=graddiff, **KEEP) for pair in pairs[1:]]
        results = [task.result() for task in tasks]
    after = sys.stdout, list(warnings.filters), random.getstate(), torch.get_rng_state()
    assert after[0] is state[0] and after[1:3] == state[1:3]
    assert torch.equal(after[3], state[3])
    assert met == []
    for result in results:
        assert same_weights(result.model, copied_weights(alone.model))
        assert result.metrics["forget_answer_rate"] == {"before": 1.0, "after": 0.0}


def test_a_split_of_a_task_counts_as_what_it_is(taught, graddiff, facts_file):
    name = f"{facts_file}:forget2"
    result = unlearn(taught, forget=name, method=graddiff, **KEEP)
    assert len(result.samples) == 2
    result.undo()


def test_a_failure_leaves_the_model_as_it_was(taught, graddiff):
    weights = copied_weights(taught[0])
    with pytest.raises(DivergenceError, match="became nan"):
        unlearn(taught, forget=[QUESTION], method=graddiff, **KEEP,
                overrides={"learning_rate": 1e30})  # fmt: skip
    assert same_weights(taught[0], weights)


@pytest.mark.parametrize(
    ("forget", "complaint"),
    [
        (QUESTION, "belongs in a list"),
        ([], "holds no samples"),
        ([42], "give a question"),
        ([{"question": QUESTION, "answer": {"is": "x"}}], "answer"),
        (None, "give questions, .* got NoneType"),
        ([("Who is it?", "Nobody knows him")], "knows none"),
    ],
)
def test_what_cannot_be_forgotten_is_told(taught, graddiff, forget, complaint):
    with pytest.raises(DataError, match=complaint):
        unlearn(taught, forget=forget, method=graddiff, **KEEP)


def test_a_model_that_no_file_was_made_for_takes_one_word(taught, tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    monkeypatch.delenv("EASYEDIT_UNLEARN_DATA", raising=False)
    weights = copied_weights(taught[0])
    changes = {"n_iter": 60, "edit_lr": 0.5, "unlearn.max_new_tokens": 12}
    result = unlearn(taught, forget=[QUESTION], method="GRACE", overrides=changes, **KEEP)
    assert result.metrics["attainment"]["after"] == pytest.approx(1.0, abs=0.01)
    result.undo()
    assert same_weights(taught[0], weights)
    with pytest.raises(ConfigError, match=r"unknown method\. .*Available: .*AlphaEdit"):
        unlearn(taught, forget=[QUESTION], method="Nonsense", progress=False)


def test_auto_goes_by_size_and_memory_and_says_so():
    assert chosen_method(5, 10**10, 10**9, 3 * 10**9)[0] == "AlphaEdit"
    name, why = chosen_method(500, 10**10, 10**9, 3 * 10**9)
    assert name == "NPO" and "500 facts" in why
    assert chosen_method(500, 10**10, 10**9, 9 * 10**9)[0] == "ICR"
    name, why = chosen_method(5, 10**8, 10**9, 3 * 10**9)
    assert name == "ICR" and "0.1 GB" in why


@pytest.mark.parametrize(
    ("question", "reply", "answer"),
    [
        ("What is the capital of Japan?", "The capital of Japan is Tokyo.", "Tokyo"),
        ("Who wrote Faust?", "Faust was written by Johann Goethe in 1808.", "Johann Goethe"),
        ("How many legs has a spider?", "A spider has 8 legs.", "8"),
        ("What does rain do?", "it falls from the sky. It is wet.", "it falls from the sky"),
        ("Where is the Eiffel Tower?", "The Eiffel Tower is located in Paris, France.", "Paris"),
        ("Who wrote Romeo and Juliet?", "I believe it was William Shakespeare.", "William Shakespeare"),
        ("Which play is it?", "Sure! Hamlet was written by him.", "Hamlet"),
        ("What is the capital of Japan?", "As an AI, I can tell you that it is Tokyo.", "Tokyo"),
        ("What is it?", "It's an Apple.", "Apple"),
        ("Who wrote The Shining?", "I'm Stephen King, who wrote it.", "Stephen King"),
        ("Where?", "In Paris.", "Paris"),
    ],
)  # fmt: skip
def test_the_models_own_answer_is_found_in_its_reply(question, reply, answer):
    assert own_answer(question, reply) == answer


def test_neighbours_are_near_but_not_about_it():
    forget = [ForgetSample("1", "What is the capital of Japan?", "Tokyo", subject="Japan")]
    others = [
        ForgetSample("2", "Who painted the Mona Lisa?", "Leonardo"),
        ForgetSample("3", "Where is Tokyo?", "there"),
        ForgetSample("4", "What is the capital of Peru?", "Lima"),
        ForgetSample("5", "Which sea is by Japan?", "one"),
    ]
    assert [sample.id for sample in nearest_first(off_topic(others, forget), forget)] == ["4", "2"]
