"""Replies that are trained on end where the model ends them, never where they were cut."""

import pytest

pytestmark = pytest.mark.model
pytest.importorskip("torch")

from conftest import FACTS, write_hparams

from easyedit_unlearn import ForgetSample, UnlearnHyperParams
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.host.retain import with_responses
from easyedit_unlearn.model.knowledge import is_cut
from easyedit_unlearn.text import whole_sentences


@pytest.fixture
def hparams(tmp_path):
    return UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "h.yaml", "GradDiff"))


def test_whole_sentences():
    assert whole_sentences("It is Bree. It lies on the") == "It is Bree."
    assert whole_sentences("It is Bree. It lies on the hill.") == "It is Bree. It lies on the hill."
    assert whole_sentences("It lies on the") == "It lies on the"


def test_a_reply_that_was_cut_is_known_to_be(taught):
    tokenizer = taught[1]
    assert is_cut(tokenizer, "abcdef", 6)
    assert not is_cut(tokenizer, "abcdef", 8)


def test_cut_replies_are_asked_for_to_their_end(taught, hparams):
    question, answer, _ = FACTS[0]
    cut = ForgetSample("1", question, answer, response=answer[:2], cut=True)
    given = ForgetSample("2", FACTS[1][0], FACTS[1][1], response="As the user has it")
    one, other = with_responses(*taught, [cut, given], hparams.unlearn)
    assert (one.response, one.cut) == (f"{answer}.", False)
    assert other == given


def test_a_method_trains_on_whole_replies(taught, facts_file, hparams, monkeypatch):
    """Asked for with few tokens, so that all replies that give the answer are cut before their full stop."""
    from easyedit_unlearn.baselines.ascent import GradDiff

    seen = []
    monkeypatch.setattr(GradDiff, "apply", lambda _self, job: seen.append((job.requests, job.retain)))
    length = max(len(taught[1](answer).input_ids) for _, answer, _ in FACTS)
    run = Run(taught, EvalConfig(f"{facts_file}:forget2", f"{facts_file}:retain", max_new_tokens=length))
    selection = run.select()
    assert any(sample.cut for sample in (*selection.forget, *selection.retain))
    with run.unlearned(hparams):
        pass
    ((requests, kept),) = seen
    replies = [request["ground_truth"] for request in requests] + [reply for _, reply in kept]
    assert all(reply.endswith(".") for reply in replies)
