"""EasyEdit's metrics of our rows: which pairs are asked, and their shares on a tiny model."""

from __future__ import annotations

import pytest

from easyedit_unlearn import ForgetSample, Target
from easyedit_unlearn.components import BuildContext
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.editing import EDITING, editing_metrics, editing_pairs, predictions
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
        "locality": [("What?", "Ann")],
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


def by_hand(model, tokenizer, pairs):
    """As EasyEdit has it: prompt and target joined by a space and read as one text, which is cut where the prompt's
    number of tokens ends."""
    import torch

    shares = []
    for prompt, target in pairs:
        ids = torch.tensor([tokenizer(f"{prompt} {target}").input_ids])
        begins = len(tokenizer(prompt).input_ids)
        with torch.no_grad():
            likeliest = model(ids).logits[0].argmax(-1)
        shares.append((likeliest[begins - 1 : -1] == ids[0, begins:]).double().mean().item())
    return sum(shares) / len(shares)


@pytest.mark.model
def test_shares_of_tokens_that_the_model_says(taught):
    from conftest import FACTS

    model, tokenizer = taught
    pairs = {
        "reliability": [(question, f"{answer}.") for question, answer, _ in FACTS],
        "generality": [(FACTS[0][0], "\u00e9\u00e9\u00e9")],
        "locality": [(FACTS[0][0], "\u00e9\u00e9\u00e9"), (FACTS[1][0], "Whatever it is.")],
        "portability": [],
    }
    before = predictions(model, tokenizer, pairs["locality"], str)
    found = editing_metrics(model, tokenizer, pairs, str, before)
    assert found["locality"] == 1.0  # nothing was edited
    assert found["portability"] is None
    assert [found["reliability"], found["generality"]] == pytest.approx(
        [by_hand(model, tokenizer, pairs[name]) for name in ("reliability", "generality")]
    )
    assert 0 < found["reliability"] < 1
    assert editing_metrics(model, tokenizer, {"locality": []}, str, {}) == {"locality": None}
    other = {pair: ((-1, *said[1:]), own) for pair, (said, own) in before.items()}
    shares = [1 - 1 / len(said) for said, _ in before.values()]
    found = editing_metrics(model, tokenizer, pairs, str, other)
    assert found["locality"] == pytest.approx(sum(shares) / 2)


@pytest.mark.host
@pytest.mark.model
def test_easyedit_itself_computes_the_same_in_chat_and_raw(taught):
    from types import SimpleNamespace

    from conftest import FACTS

    from easyedit_unlearn.host.running import import_host
    from easyedit_unlearn.host.session import host_module, on_right_device
    from easyedit_unlearn.model.prompting import format_prompt

    import_host()
    theirs = host_module("evaluate.evaluate_utils").test_prediction_acc
    model, tokenizer = taught
    asked = {"raw": str, "chat": lambda question: format_prompt(tokenizer, question, "chat")}
    for ask in asked.values():
        pairs = [(question, f"{answer} or not.") for question, answer, _ in FACTS]
        wanted, said = [], []
        for question, text in pairs:
            given = (model, tokenizer, SimpleNamespace(max_length=512), ask(question), text, "cpu")
            with on_right_device("cpu"):
                wanted += theirs(*given)
                said += theirs(*given, locality=True)
        found = predictions(model, tokenizer, pairs, ask)
        assert [list(found[pair][0]) for pair in pairs] == said
        ours = editing_metrics(model, tokenizer, {"reliability": pairs}, ask, {})
        assert ours["reliability"] == pytest.approx(sum(wanted) / len(wanted))
        assert 0 < ours["reliability"] < 1
