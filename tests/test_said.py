"""What the page shows of each prompt: what became of it, in which order, and what is new in a reply."""

import pytest

from easyedit_unlearn.report.said import said


def record(group="forget", known=True, before="It is Bree.", after="It is Ost.", given=0.0, refused=0.0, was=1.0):
    return {
        "method": "ROME", "group": group, "id": "1", "known": known, "question": "Where?", "answer": "Bree",
        "target": None, "before": before, "after": after, "scores_before": {"answer_rate": was},
        "scores_after": {"answer_rate": given, "refusal_rate": refused},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"given": 1.0}, "still given"),
        ({"refused": 1.0}, "refuses"),
        ({}, "forgotten"),
        ({"group": "rephrase", "given": 1.0}, "still given"),
        ({"group": "holdout"}, "lost"),
        ({"group": "retain", "refused": 1.0}, "neighbour refuses"),
        ({"group": "retain", "given": 1.0}, "kept"),
        ({"known": False}, "not known before"),
        ({"before": None}, ""),
        ({"group": "world_facts"}, ""),
    ],
)
def test_what_became_of_a_prompt(given, outcome):
    (one,) = said([record(**given)])
    assert one["outcome"] == outcome


def test_what_went_wrong_comes_first():
    rows = [record("retain", given=1.0), record(), record("holdout"), record(given=1.0), record(known=False)]
    assert [one["outcome"] for one in said(rows)] == ["still given", "lost", "forgotten", "kept", "not known before"]


def test_new_words_of_neighbours_are_told_from_the_others():
    (one,) = said([record("holdout", before="It is in Bree now.", after="It was in Ost now.")])
    assert one["parts"] == [("It", False), (" was", True), (" in", False), (" Ost", True), (" now.", False)]
    assert said([record()])[0]["parts"] == [("It is Ost.", False)]  # of what is forgotten all is new
