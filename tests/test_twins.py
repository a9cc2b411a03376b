"""One fact asked for twice must not stand in two sets. No torch."""

from __future__ import annotations

import pytest

from easyedit_unlearn import ForgetSample
from easyedit_unlearn.errors import UnlearnWarning
from easyedit_unlearn.tasks.given import GivenSamples
from easyedit_unlearn.tasks.splits import check_disjoint, pick
from easyedit_unlearn.tasks.twins import apart, same_fact, twins


def sample(question, answer="x", subject=None):
    return ForgetSample(question, question, answer, subject=subject)


LISA = sample("Who painted the Mona Lisa?", "Leonardo da Vinci", "Mona Lisa")
BOOK = sample("Who is the writer of 'One Hundred Years of Solitude'?", "Gabriel García Márquez",
              "One Hundred Years of Solitude")  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (LISA, sample("Who painted Mona Lisa?", "somebody"), True),  # but for an article
        (BOOK, sample("The book 'One Hundred Years of Solitude' was authored by which writer?",
                      "Gabriel Garcia Marquez", "One Hundred Years of Solitude"), True),
        (LISA, sample("Who stole the Mona Lisa?", "Vincenzo Peruggia", "Mona Lisa"), False),
        (sample("What is the capital of Japan?", "Tokyo", "Japan"),
         sample("What is the largest city of Japan?", "Tokyo", "Japan"), True),  # forgetting one loses the other
        (sample("How many days of notice under the contract of Acme and Bolt?", "15", "Acme"),
         sample("How many pieces under the contract of Acme and Bolt?", "15", "Acme"), False),
        (sample("Who pays under the contract of Acme and Bolt?", "the seller", "Acme"),
         sample("Who pays under the contract of Acme and Core?", "the seller", "Acme"), False),
        (sample("which planet is the largest one", "Jupiter"), sample("which planet is largest", "Jupiter"), True),
        (sample("which planet is the largest one", "Jupiter"), sample("which god is Zeus in Rome", "Jupiter"), False),
    ],
)  # fmt: skip
def test_what_one_fact_is(one, other, same):
    assert same_fact(one, other) is same
    assert same_fact(other, one) is same


def test_an_answer_of_many_subjects_tells_no_fact():
    wars = [sample(f"Which war did Person{n} see?", "World War II", f"Person{n}") for n in range(4)]
    late = sample("Where was Person1 in his youth?", "World War II", "Person1")
    assert twins([late], wars[:2]) == [(late, wars[1])]
    assert twins([late], wars) == []


def knows_all(samples):
    return frozenset(one.key for one in samples)


def test_splits_leave_out_what_is_asked_for_again_and_say_so():
    again = sample("Who painted Mona Lisa?", "Leonardo da Vinci")
    others = [sample(f"What is number {word}?", word) for word in ("one", "two", "three", "four")]
    source = GivenSamples.source([LISA, again, *others])
    kept = {}
    for split in ("retain", "holdout"):
        with pytest.warns(UnlearnWarning, match=r"leaves out.*Who painted Mona Lisa.*as 'Who painted the Mona Lisa"):
            kept[split] = pick(type(source)(source.task, source.options, split), knows_all, [LISA])
    assert again not in kept["retain"] + kept["holdout"]
    assert len(kept["retain"] + kept["holdout"]) == 4


def test_facts_asked_for_twice_do_not_fall_into_retain_and_holdout():
    assert apart([LISA, sample("Who painted Mona Lisa?"), BOOK]) == [LISA, BOOK]


def test_sets_that_were_given_are_kept_but_it_is_said():
    with pytest.warns(UnlearnWarning, match="the forget set and the retain set share"):
        check_disjoint(forget=[LISA], retain=[sample("Who painted Mona Lisa?")])
