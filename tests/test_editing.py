"""EasyEdit's metrics of our rows: which pairs are asked, and their shares on a tiny model."""

from __future__ import annotations

import pytest

from easyedit_unlearn import ForgetSample, Target
from easyedit_unlearn.components import BuildContext
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.editing import EDITING, editing_metrics, editing_pairs
from easyedit_unlearn.plugins.load import load_plugins
from easyedit_unlearn.types import Evaluation, Observation, Scored

EXTRAS = {"alternative": "2006", "portability": {"question": "And then?", "answer": "Athletics"}}
FIRST = ForgetSample("1", "When?", "1998", extras=EXTRAS)
SECOND = ForgetSample("2", "Who?", "Ann")


def before(*seen):
    return Evaluation([Scored(Observation(sample, group, asked, text), {}) for sample, group, asked, text in seen], 1.0)


SEEN = before(
    (FIRST, "forget", "When?", "In 1998."), (FIRST, "rephrase", "At what time?", "1998"),
    (SECOND, "forget", "Who?", "Ann"), (SECOND, "holdout", "What?", "That."), (SECOND, "retain", "Why?", "So."),
)  # fmt: skip


def test_what_is_to_be_said_where():
    found = editing_pairs(SEEN, [Target("1", "2006"), Target("2", "")])
    assert found == {
        "reliability": [("When?", "2006")],
        "generality": [("At what time?", "2006")],
        "locality": [("What?", "That.")],
        "portability": [("And then?", "Athletics")],
    }
    refused = editing_pairs(SEEN, [Target("1", "No idea."), Target("2", "No idea.")])
    assert [len(refused[name]) for name in EDITING] == [2, 1, 1, 0]
    assert [len(editing_pairs(SEEN, [])[name]) for name in EDITING] == [0, 0, 1, 0]
    odd = ForgetSample("1", "When?", "1998", extras={"alternative": "2006", "portability": "Athletics"})
    assert editing_pairs(before((odd, "forget", "When?", "")), [Target("1", "2006")])["portability"] == []


def test_the_counterfactual_is_a_target_like_any_other():
    builder = load_plugins(use_entry_points=False).target_builders.get("alternative")
    assert builder.build([FIRST], builder.Options(), BuildContext()) == [Target("1", "2006")]
    with pytest.raises(DataError, match="'Who\\?' has no 'alternative'"):
        builder.build([SECOND], builder.Options(), BuildContext())


@pytest.mark.model
def test_shares_of_tokens_that_the_model_says(taught):
    from conftest import FACTS

    from easyedit_unlearn.model.prompting import format_prompt

    model, tokenizer = taught
    facts = [(question, f"{answer}.") for question, answer, _ in FACTS]
    pairs = {
        "reliability": facts,
        "generality": [(FACTS[0][0], "\u00e9\u00e9\u00e9")],
        "locality": [],
        "portability": [],
    }
    found = editing_metrics(model, tokenizer, pairs, lambda question: format_prompt(tokenizer, question))
    assert found == {"reliability": 1.0, "generality": 0.0, "locality": None, "portability": None}
    assert editing_metrics(model, tokenizer, {"locality": []}, str) == {"locality": None}
