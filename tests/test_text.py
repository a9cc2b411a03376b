"""Answers as whole words, and where they stand. No torch."""

from __future__ import annotations

import pytest

from easyedit_unlearn.evaluation.judging import contains_answer
from easyedit_unlearn.text import answer_span, until_answer


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


def test_where_an_answer_stands_in_a_reply():
    reply = "It helps that he painted Au, that is gold (AU)."
    assert answer_span(reply, ["Au", "gold"]) == (25, 27)  # the first to come; "AU" is not the symbol
    assert answer_span(reply, ["he", "GOLD"]) == (14, 16)
    assert answer_span(reply, ["aint", "silver"]) is None
    assert until_answer(reply, ["gold"]) == "It helps that he painted Au, that is gold"
    assert until_answer(reply, ["silver"]) == reply
    assert answer_span("The C++ language.", ["C++"]) == (4, 7)
