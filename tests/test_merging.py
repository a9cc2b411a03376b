"""Query mergers: nothing lost, nothing doubled, every subject where the editor looks for it. No torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyedit_unlearn import EditRequest, ForgetSample, Target
from easyedit_unlearn.config.settings import parse_settings
from easyedit_unlearn.errors import ConfigError, DataError
from easyedit_unlearn.experiment.alike import alike
from easyedit_unlearn.merging.check import check_requests
from easyedit_unlearn.merging.grouping import grouped
from easyedit_unlearn.merging.mergers import Auto, BySubject, Concat, NoMerging, SharedValue
from easyedit_unlearn.plugins.load import default_plugins

SAMPLES = [
    ForgetSample(id=str(i), question=f"{word} is {who}?", answer=f"Answer{i}", subject=who, rephrases=(f"{who}?",))
    for i, (word, who) in enumerate(
        (word, who) for who in ("Ada", "Bo", "Cleo") for word in ("Who", "Where", "How old", "How tall")
    )
] + [ForgetSample(id="none", question="What is it?", answer="That")]


def options(merger, **values):
    return merger.Options.model_validate(values)


def targets_for(samples, text="I can't say."):
    return [Target(sample.id, text) for sample in samples]


some = st.lists(st.sampled_from(SAMPLES), unique_by=lambda s: s.id, min_size=1)
settings = st.one_of(
    st.just((NoMerging(), {})),
    st.just((BySubject(), {})),
    st.tuples(
        st.sampled_from([Concat(), SharedValue()]),
        st.fixed_dictionaries(
            {"size": st.integers(1, 15), "grouping": st.sampled_from(["order", "subject", "similarity"])}
        ),
    ),
)


@given(some, settings)
def test_no_query_is_lost_or_doubled(samples, chosen):
    merger, values = chosen
    targets = targets_for(samples)
    requests = merger.merge(samples, targets, options(merger, **values))
    check_requests(samples, targets, requests, merger.name)
    by_id = {sample.id: sample for sample in samples}
    for request in requests:
        covered = [by_id[sample_id] for sample_id in request.covers]
        if merger.name == "shared_value":
            assert [query.prompt for query in request.queries] == [sample.question for sample in covered]
        else:
            assert request.prompt == " ".join(sample.question for sample in covered)
        assert all(sample.answer in request.ground_truth for sample in covered)
        assert len(covered) <= values.get("size", 4)


@given(some, st.sampled_from(["first", "last"]), st.integers(2, 6))
def test_the_subject_stands_once_and_ends_where_the_question_s_does(samples, position, size):
    for request in Concat().merge(samples, targets_for(samples), options(Concat(), size=size, position=position)):
        edited = next(s for s in samples if s.id == request.covers[0 if position == "first" else -1])
        if edited.subject is None:
            assert request.subject is None
            continue
        assert request.prompt.count(request.subject) == 1
        assert request.subject.endswith(edited.subject)
        end = request.prompt.index(request.subject) + len(request.subject)
        start = 0 if position == "first" else len(request.prompt) - len(edited.question)
        assert start < end <= start + len(edited.question)


def test_groupings():
    items = SAMPLES
    ids = lambda groups: [[s.id for s in g] for g in groups]  # noqa: E731
    assert ids(grouped(items, 5, "order"))[0] == ["0", "1", "2", "3", "4"]
    mixed = [items[i] for i in (0, 4, 1, 5, 2)]
    assert ids(grouped(mixed, 3, "subject")) == [["0", "1", "2"], ["4", "5"]]
    assert ids(grouped([items[i] for i in (0, 9, 1, 10)], 2, "similarity")) == [["0", "1"], ["9", "10"]]
    assert ids(grouped([items[0], items[4], items[9]], 2, "similarity")) == [["0", "4"], ["9"]]  # the other "Who"


def test_by_subject_brings_together_what_is_about_one_subject():
    requests = BySubject().merge(SAMPLES, targets_for(SAMPLES), options(BySubject()))
    assert [request.covers for request in requests] == [
        ("0", "1", "2", "3"), ("4", "5", "6", "7"), ("8", "9", "10", "11"), ("none",),
    ]  # fmt: skip
    assert requests[0].subject == "tall is Ada"


def test_a_value_may_be_shared_with_the_merged_prompt_too():
    chosen = SAMPLES[:3]
    (request,) = SharedValue().merge(chosen, targets_for(chosen), options(SharedValue(), together=True))
    assert [query.prompt for query in request.queries] == [
        "Who is Ada?", "Where is Ada?", "How old is Ada?", "Who is Ada? Where is Ada? How old is Ada?",
    ]  # fmt: skip
    assert request.queries[-1].subject == "old is Ada"
    assert request.covers == ("0", "1", "2")


def test_auto_shares_among_those_found_alike_and_of_one_refusal():
    chosen, auto = SAMPLES[:4], Auto()
    assert [request.covers for request in auto.merge(chosen, targets_for(chosen), options(auto))] == [
        ("0",), ("1",), ("2",), ("3",),
    ]  # fmt: skip
    known = options(auto, groups=(("1", "3", "2"), ("0",)))
    assert [[s.id for s in group] for group in auto.groups(chosen, known)] == [["0"], ["1", "2", "3"]]
    targets = [Target(s.id, "No." if s.id == "2" else "Never.") for s in chosen]
    requests = auto.merge(chosen, targets, known)
    check_requests(chosen, targets, requests, "auto")
    assert [request.covers for request in requests] == [("0",), ("1", "3"), ("2",)]


def test_keys_that_point_one_way_are_alike():
    keys = np.array([[1.0, 0.9, 0.0, 0.0, 0.1], [0.0, 0.1, 2.0, 0.9, 0.1], [0.1, 0.0, 0.0, 0.1, 0.0]])
    assert sorted(map(sorted, alike(keys, 0.8))) == [[0, 1], [2, 3], [4]]
    assert sorted(map(sorted, alike(keys, 0.999))) == [[0], [1], [2], [3], [4]]


def test_one_sample_is_the_request_it_would_be_unmerged():
    for merger in (Concat(), BySubject(), SharedValue()):
        assert merger.merge(SAMPLES[:1], targets_for(SAMPLES[:1]), options(merger)) == NoMerging().merge(
            SAMPLES[:1], targets_for(SAMPLES[:1]), options(NoMerging())
        )


def test_the_model_s_own_reply_is_what_to_forget():
    sample = replace(SAMPLES[0], response="It is Answer0.")
    (request,) = NoMerging().merge([sample], [Target("0", "No.")], None)
    assert (request.ground_truth, request.rephrase, request.covers) == ("It is Answer0.", "Ada?", ("0",))


@pytest.mark.parametrize("merger", [Concat(), BySubject(), SharedValue()])
def test_a_group_has_one_target(merger):
    targets = [Target("0", "I can't."), Target("1", "I won't.")]
    with pytest.raises(DataError, match=r"samples 0, 1 would share one edit but have 2 different targets.*fixed"):
        merger.merge(SAMPLES[:2], targets, options(merger))


def test_a_subject_that_cannot_be_told_apart():
    twice = [
        ForgetSample(id="1", question="Ada?", answer="a", subject="Ada"),
        ForgetSample(id="2", question="Ada? Ada?", answer="b", subject="Ada"),
    ]
    with pytest.raises(DataError, match="cannot be told apart"):
        Concat().merge(twice, targets_for(twice), options(Concat(), position="first"))


@pytest.mark.parametrize("size", [0, -1, 1.5, "two"])
def test_a_merge_size_must_be_a_count(size):
    with pytest.raises(ConfigError, match=r"h\.yaml: unlearn\.merge\.size"):
        parse_settings({"merge": {"merger": "concat", "size": size}}, default_plugins(), "h.yaml")


def test_a_merger_that_loses_doubles_or_mixes_is_caught():
    samples, targets = SAMPLES[:2], targets_for(SAMPLES[:2])
    one = EditRequest("Who is Ada?", "I can't say.", "a", ("0",), "Ada")
    two = EditRequest("Where is Ada?", "I can't say.", "a", ("1",), "Ada")
    with pytest.raises(DataError, match=r"lost the samples \['1'\]"):
        check_requests(samples, targets, [one], "lossy")
    with pytest.raises(DataError, match=r"added \['0'\]"):
        check_requests(samples[:1], targets[:1], [one, one], "doubling")
    with pytest.raises(DataError, match="does not stand in"):
        check_requests(samples[:1], targets[:1], [replace(one, subject="absent")], "blind")
    with pytest.raises(DataError, match="different targets cannot share an edit"):
        check_requests(samples, targets, [one, replace(two, target="No.")], "mixing")
    shared = SharedValue().merge(samples, targets, options(SharedValue()))[0]
    with pytest.raises(DataError, match="does not stand in"):
        check_requests(samples, targets, [replace(shared, also=(replace(shared.also[0], subject="Bo"),))], "blind")
