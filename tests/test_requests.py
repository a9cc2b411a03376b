"""Targets and merging: nothing given away, nothing lost. No torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyedit_unlearn import EditRequest, ForgetSample, Target
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.merging.check import check_requests
from easyedit_unlearn.merging.none import NoMerging
from easyedit_unlearn.targets.check import check_targets
from easyedit_unlearn.targets.fixed import DEFAULT_REFUSAL, Fixed, FixedOptions
from easyedit_unlearn.targets.list import DrawnFromList, ListOptions
from easyedit_unlearn.text import is_refusal

SAMPLES = [ForgetSample(id=str(i), question=f"Who is {i}?", answer=f"Answer{i}", subject=str(i)) for i in range(9)]


def test_the_default_target_is_a_refusal():
    targets = Fixed().build(SAMPLES, FixedOptions(), 0)
    check_targets(SAMPLES, targets, "fixed")
    assert {target.text for target in targets} == {DEFAULT_REFUSAL}
    assert is_refusal(DEFAULT_REFUSAL)


def test_list_draws_with_the_seed(tmp_path):
    path = tmp_path / "refusals.txt"
    path.write_text("No.\n\nI don't know.\nI can't say.\n")
    build = lambda seed: [t.text for t in DrawnFromList().build(SAMPLES, ListOptions(path=path), seed)]  # noqa: E731
    assert build(1) == build(1)
    assert build(1) != build(2)
    assert set(build(1)) <= {"No.", "I don't know.", "I can't say."}


def test_list_without_refusals(tmp_path):
    (tmp_path / "empty").write_text("\n \n")
    for path, said in ((tmp_path / "empty", "holds no refusals"), (Path("none"), "cannot be read")):
        with pytest.raises(DataError, match=said):
            DrawnFromList().build(SAMPLES, ListOptions(path=path), 0)


def test_a_target_may_not_give_the_answer_away():
    leak = [Target(s.id, "I can't say it is answer3.") for s in SAMPLES]
    with pytest.raises(DataError, match="gives away the answer 'Answer3'"):
        check_targets(SAMPLES, leak, "leaky")


def test_targets_for_the_wrong_sample():
    with pytest.raises(DataError, match="expected one each"):
        check_targets(SAMPLES[:2], [Target("1", "No."), Target("0", "No.")], "mixed")
    with pytest.raises(DataError, match="blank"):
        check_targets(SAMPLES[:1], [Target("0", " ")], "blank")


@given(st.lists(st.sampled_from(SAMPLES), unique_by=lambda s: s.id, min_size=1))
def test_no_query_is_lost_or_doubled(samples):
    targets = [Target(sample.id, "No.") for sample in samples]
    check_requests(samples, NoMerging().merge(samples, targets, None), "none")


def test_the_model_s_own_reply_is_what_to_forget():
    sample = replace(SAMPLES[0], response="It is Answer0.", rephrases=("Who's 0?",))
    (request,) = NoMerging().merge([sample], [Target("0", "No.")], None)
    assert (request.ground_truth, request.rephrase, request.covers) == ("It is Answer0.", "Who's 0?", ("0",))


def test_a_merger_that_loses_or_doubles_is_caught():
    one = EditRequest("Who is 0?", "No.", "a", ("0",), "0")
    with pytest.raises(DataError, match=r"lost the samples \['1'\]"):
        check_requests(SAMPLES[:2], [one], "lossy")
    with pytest.raises(DataError, match=r"added \['0'\]"):
        check_requests(SAMPLES[:1], [one, one], "doubling")
    with pytest.raises(DataError, match="does not stand in"):
        check_requests(SAMPLES[:1], [replace(one, subject="absent")], "blind")
