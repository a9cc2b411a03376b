"""Replies that are trained on end where the model ends them, never where they were cut."""

from dataclasses import replace

import pytest

pytestmark = pytest.mark.model
pytest.importorskip("torch")

from conftest import FACTS, write_hparams

from easyedit_unlearn import ForgetSample, UnlearnHyperParams
from easyedit_unlearn.baselines.rounds import still_given
from easyedit_unlearn.components import no_progress
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.host.retain import with_responses
from easyedit_unlearn.merging.grouping import concatenated
from easyedit_unlearn.model.knowledge import ended
from easyedit_unlearn.model.prompting import encode, format_prompt
from easyedit_unlearn.text import whole_sentences
from easyedit_unlearn.types import Target, Unfinished


@pytest.fixture
def hparams(tmp_path):
    return UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "h.yaml", "GradDiff"))


def test_whole_sentences():
    assert whole_sentences("It is Bree. It lies on the") == "It is Bree."
    assert whole_sentences("It is Bree. It lies on the hill.") == "It is Bree. It lies on the hill."
    assert whole_sentences("It lies on the") == "It lies on the"
    listed = "It is:\n\n1. Paris, France.\n2. Lyon, and"
    assert whole_sentences(listed) == "It is:\n\n1. Paris, France."
    assert whole_sentences("By J. R. R. Tolkien, who") == "By J. R. R. Tolkien, who"


def test_a_reply_as_long_as_it_may_be_is_unfinished(taught):
    tokenizer = taught[1]
    assert type(ended(tokenizer, "abcdef", 8, bool)) is str
    cut = ended(tokenizer, "abcdef", 6, bool)
    assert cut == "abcdef" and isinstance(cut, Unfinished)


def test_of_an_unfinished_reply_whole_sentences_stay_where_the_fact_is_in_them(taught):
    text = "It is Bree. It lies on"
    length = len(taught[1](text).input_ids)
    assert ended(taught[1], text, length, lambda part: "Bree" in part) == "It is Bree."
    assert ended(taught[1], text, length, lambda part: "lies" in part) == text


def test_no_end_is_trained_after_an_unfinished_reply(taught):
    tokenizer = taught[1]
    end = tokenizer.eos_token_id
    (_, whole), (_, cut) = encode(tokenizer, [("q ", "abc"), ("q ", Unfinished("abc"))])
    assert whole == [*cut, end] and end not in cut


def test_merged_replies_end_as_the_last_one_does():
    samples = [ForgetSample("1", "a?", "b", response=Unfinished("It is b and")), ForgetSample("2", "c?", "d")]
    for group, kind in ((samples, str), (samples[::-1], Unfinished)):
        refusals = {"1": Target("1", "No."), "2": Target("2", "No.")}
        request = concatenated(group, refusals, "concat", "first")
        assert type(request.ground_truth) is kind


def test_what_is_asked_again_is_unfinished_where_it_is_cut(taught):
    model, tokenizer = taught
    question, answer, _ = FACTS[0]
    requests = [{"prompt": format_prompt(tokenizer, question), "ground_truth": "", "answers": [answer]}]
    for length, kind in ((len(tokenizer(answer).input_ids), Unfinished), (24, str)):
        (left,) = still_given(model, tokenizer, requests, length, no_progress)
        assert type(left["ground_truth"]) is kind


def test_replies_are_filled_in_once(taught, hparams, monkeypatch):
    hparams.unlearn = replace(hparams.unlearn, max_new_tokens=len(taught[1](FACTS[0][1]).input_ids))
    samples = [ForgetSample("1", *FACTS[0][:2]), ForgetSample("2", *FACTS[1][:2], response="As the user has it")]
    one, other = filled = with_responses(*taught, samples, hparams.unlearn)
    assert isinstance(one.response, Unfinished) and one.response.startswith(FACTS[0][1][:3])
    assert other == samples[1]
    monkeypatch.setattr("easyedit_unlearn.host.retain.ask_all", lambda *given, **_: [1 / 0 for _ in given[2]])
    again = with_responses(*taught, filled, hparams.unlearn)
    assert again == filled and isinstance(again[0].response, Unfinished)


def test_a_method_trains_on_no_end_that_the_model_did_not_say(taught, facts_file, hparams, monkeypatch):
    """Asked for with few tokens, so that all replies that give the answer are cut before their full stop."""
    from easyedit_unlearn.baselines.ascent import GradDiff

    seen = []
    monkeypatch.setattr(GradDiff, "apply", lambda _self, job: seen.append((job.requests, job.retain)))
    length = max(len(taught[1](answer).input_ids) for _, answer, _ in FACTS)
    run = Run(taught, EvalConfig(f"{facts_file}:forget2", f"{facts_file}:retain", max_new_tokens=length))
    run.select()
    with run.unlearned(hparams):
        pass
    ((requests, kept),) = seen
    replies = [request["ground_truth"] for request in requests] + [reply for _, reply in kept]
    assert any(isinstance(reply, Unfinished) for reply in replies)
    assert all(reply.endswith(".") or isinstance(reply, Unfinished) for reply in replies)
