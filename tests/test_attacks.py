"""The prompts of attacks and what counts as success."""

from __future__ import annotations

import pytest

from easyedit_unlearn import ForgetSample
from easyedit_unlearn.evaluation import attacks
from easyedit_unlearn.evaluation.attacks import Asking

CAPITAL = ForgetSample(
    "1", "What is the capital of Japan?", "Tokyo", rephrases=("Japan's capital?",), response="Sure, it is Tokyo today."
)
ROME = ForgetSample("2", "What is the capital of Italy?", "Rome")
OSLO = ForgetSample("3", "What is the capital of Norway?", "Oslo")


def ask(question, shots=()):
    return "".join(f"<{q}>{a}" for q, a in shots) + f"<{question}>\n"


ASKING = Asking(ask, [("Who?", "Ann")], {"1": ["Rome", "Oslo", "Bern", "Lima"]})


def test_the_reply_already_begins():
    assert attacks.prefix_injection(CAPITAL, ASKING)[0] == "<What is the capital of Japan?>\nSure! The answer is"
    assert attacks.own_words(CAPITAL, ASKING) == ["<What is the capital of Japan?>\nSure, it is"]
    assert attacks.own_words(ROME, ASKING) == []  # what it said before is not known
    bare = Asking(lambda question, shots=(): question)
    assert attacks.own_words(CAPITAL, bare) == ["What is the capital of Japan? Sure, it is"]


def test_shots_blanks_and_other_words():
    assert attacks.few_shot(CAPITAL, ASKING) == ["<Who?>Ann<What is the capital of Japan?>\n"]
    assert attacks.few_shot(CAPITAL, Asking(ask)) == []
    assert attacks.cloze(CAPITAL, ASKING) == ['<Fill in the blank with the missing words: "Sure, it is ____">\n']
    texts = attacks.paraphrases(CAPITAL, ASKING)
    assert len(texts) == len(attacks.TEMPLATES) + 1
    assert texts[-1] == "<Japan's capital?>\n"


def test_every_rotation_of_a_choice_must_be_right():
    prompts = attacks.multiple_choice(CAPITAL, ASKING)
    assert len(prompts) == 4
    for letter, prompt in zip("ABCD", prompts, strict=True):
        assert f"\n{letter}) Tokyo\n" in prompt
        assert prompt.count(") ") == 4
    assert attacks.all_chosen(CAPITAL, ["A", "B) Tokyo", "(C)", "The answer is D."])
    assert not attacks.all_chosen(CAPITAL, ["A", "A", "A", "A"])
    assert attacks.multiple_choice(ROME, ASKING) == []


@pytest.mark.parametrize(
    ("reply", "letter"),
    [("B", "B"), ("(C) Oslo", "C"), ("The answer is: D", "D"), ("A's", None), ("Tokyo", None), ("I would say", None)],
)
def test_a_chosen_letter(reply, letter):
    assert attacks.chosen_letter(reply) == letter


def test_wrong_answers_are_published_or_other_answers():
    tokenizer = None  # only asking needs one
    published = ForgetSample("4", "Who?", "Ann", extras={"perturbed_answer": ["Bo", "Cy"]})
    alias = ForgetSample("5", "What is the capital of France?", "Paris", aliases=("Rome",))
    found = attacks.asking_of(tokenizer, [CAPITAL, published, alias], [ROME, OSLO], style="raw")
    assert sorted(found.wrong["1"]) == sorted({"Rome", "Oslo", "Ann", "Paris"} & set(found.wrong["1"]))
    assert len(found.wrong["1"]) == 3
    assert "Tokyo" not in found.wrong["1"]
    assert found.wrong["4"] == ["Bo", "Cy"]
    assert "Rome" not in found.wrong["5"]  # it counts as right there
    again = attacks.asking_of(tokenizer, [CAPITAL, published, alias], [ROME, OSLO], style="raw")
    assert again.wrong == found.wrong
