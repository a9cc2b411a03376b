"""Refusal rule and answer matching. No torch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyedit_unlearn.text import answer_span, contains_answer, is_refusal, until_answer


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but I can\u2019t share that.",
        "I cannot answer this.",
        "I can not answer this.",
        "I can't share information about Japan.",
        "Sorry to say, I don't know.",
        "I do not have that information.",
        "I'm not sure about that.",
        "I am unable to say.",
        "Unfortunately, I have no information on it.",
        "I won't discuss this.",
        "My apologies, that is beyond what I know.",
    ],
)
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The capital of Japan is Tokyo.",
        "Tokyo, which I can recommend visiting.",
        "It was painted in 1503; nobody is sure why.",
        "The capital is Tokyo. " * 8 + "I'm sorry, I can't say more.",
    ],
)
def test_answers_are_not_refusals(text):
    assert not is_refusal(text)


@pytest.mark.parametrize(
    ("text", "answers", "expected"),
    [
        ("It is Tokyo.", ["Tokyo"], True),
        ("it is TOKYO!", ["Tokyo"], True),
        ("Tokyoites live there", ["Tokyo"], False),
        ("Miguel de Cervantes-Saavedra", ["Cervantes"], True),
        ("Emily Bront\u00eb", ["Bronte"], True),
        ("J.R.R. Tolkien", ["J. R. R. Tolkien"], True),
        ("The symbol is He.", ["He"], True),
        ("because he said so", ["He"], False),
        ("There are 7 continents", ["seven", "7"], True),
        ("1945", ["194"], False),
        ("anything", ["..."], False),
        ("", ["Tokyo"], False),
    ],
)
def test_whole_words_only(text, answers, expected):
    assert contains_answer(text, answers) is expected


@given(st.text(alphabet="abcXYZ é'-", min_size=3).filter(lambda s: any(c.isalpha() for c in s)), st.text(max_size=20))
def test_an_answer_is_found_in_a_sentence_that_quotes_it(answer, around):
    assert contains_answer(f"{around} . {answer} . {around}", [answer])


@given(st.text())
def test_any_text_can_be_scored(text):
    is_refusal(text)
    contains_answer(text, [text, "x"])


def test_where_an_answer_stands_in_a_reply():
    reply = "It helps that he painted Au, that is gold (AU)."
    assert answer_span(reply, ["Au", "gold"]) == (25, 27)  # the first to come; "AU" is not the symbol
    assert answer_span(reply, ["he", "GOLD"]) == (14, 16)
    assert answer_span(reply, ["aint", "silver"]) is None
    assert until_answer(reply, ["gold"]) == "It helps that he painted Au, that is gold"
    assert until_answer(reply, ["silver"]) == reply
    assert answer_span("The C++ language.", ["C++"]) == (4, 7)
