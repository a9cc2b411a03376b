"""The verdict in words: counts as they are, nothing said that is not so."""

from __future__ import annotations

import pytest

from easyedit_unlearn.report.verdict import made_by, verdict, verdicts
from easyedit_unlearn.results import Results

ROW = {
    "method": "AlphaEdit", "label": "AlphaEdit", "n_forget": 21, "n_known": 20, "n_prompts_forget": 20,
    "n_prompts_rephrase": 40, "n_prompts_retain": 28, "n_prompts_holdout": 27, "forget_answer_rate": 0.1,
    "rephrase_answer_rate": 0.075, "forget_refusal_rate": 0.85, "forget_babble_rate": 0.0, "retain_answer_rate": 1.0,
    "holdout_answer_rate": 26 / 27, "retain_refusal_rate": 0.0, "holdout_refusal_rate": 1 / 27, "ppl_before": 37.0,
    "ppl_after": 37.5, "model": "tiny", "versions": {"torch": "2"},
}  # fmt: skip


def test_a_verdict_counts():
    assert verdict(ROW) == (
        "AlphaEdit forgot 18 of 20 known facts (2 still given); asked in other words, 3 of 40 replies give them. Lost: "
        "1 of 27 neighbours that nothing was trained on (refused 1), and 0 of 28 that were to be kept. Of its 20 "
        "replies 17 decline. 1 of the questions was not known before."
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"forget_refusal_rate": 0.0, "forget_babble_rate": 0.9}, "Of its 20 replies 18 say nothing sensible"),
        ({"forget_refusal_rate": 0.0}, "Of its 20 replies 18 say something else"),
        ({"forget_answer_rate": 1.0, "forget_refusal_rate": 0.0}, "Its replies are what they were"),
        ({"ppl_after": 370.0}, "Plain text became harder for it (perplexity 37 to 370)"),
        ({"n_prompts_forget": 5, "forget_answer_rate": 0.0}, "5 facts are few: another 5 may fare otherwise"),
    ],
)
def test_what_a_verdict_says(change, said):
    assert said in verdict({**ROW, **change})


def test_what_is_not_there_is_not_said():
    bare = {
        "method": "GA",
        "label": "GA",
        "n_forget": 12,
        "n_known": 12,
        "n_prompts_forget": 12,
        "forget_answer_rate": 0.0,
    }
    assert verdict(bare) == "GA forgot 12 of 12 known facts. Of its 12 replies 12 say something else."
    assert verdict({**bare, "method": "before"}) is None
    assert verdict({**bare, "method": "as it stands"}) is None  # what it knew before is not known
    assert verdict({**bare, "forget_answer_rate": None}) is None
    assert verdict({**bare, "stopped": "the loss became nan"}) == "GA stopped: the loss became nan"
    assert verdicts(Results(rows=[bare] * 20)) == []


def test_by_what_it_was_made():
    results = Results(rows=[ROW], date="2026-01-02")
    assert list(made_by(results)) == ["tiny", "2026-01-02", "torch 2"]
    assert list(made_by(Results())) == []
