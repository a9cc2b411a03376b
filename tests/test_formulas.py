"""The formulas of the unlearning literature on cases worked out by hand. No torch."""

from __future__ import annotations

import math
import subprocess
import sys
import zlib

import pytest

from easyedit_unlearn import ForgetSample
from easyedit_unlearn.evaluation import formulas
from easyedit_unlearn.evaluation.metrics import Formula
from easyedit_unlearn.evaluation.questions import published_answers
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.types import AnswerTokens, Continuation, Observation

LOG = math.log


def tokens(*logprobs, greedy=None, means=None, spreads=None):
    n = len(logprobs)
    return AnswerTokens(logprobs, greedy or (True,) * n, means or (0.0,) * n, spreads or (1.0,) * n)


def test_normalised_probability_is_a_share():
    assert formulas.normalised_probability(LOG(0.3), [LOG(0.1), LOG(0.2)]) == pytest.approx(0.5)
    assert formulas.normalised_probability(-2000.0, [-2000.0]) == pytest.approx(0.5)  # no underflow
    assert formulas.normalised_probability(None, [-1.0]) is None
    assert formulas.normalised_probability(-1.0, []) is None


def test_the_truth_ratio_takes_the_geometric_mean_of_the_wrong_answers():
    assert formulas.truth_ratio(LOG(0.4), [LOG(0.1), LOG(0.4)]) == pytest.approx(0.5)
    assert formulas.truth_ratio(-5000.0, [-1.0]) == pytest.approx(math.exp(700))  # finite, for JSON
    assert formulas.truth_ratio(None, [-1.0]) is None
    assert formulas.truth_ratio(-1.0, []) is None


def test_ranks_as_pistol_has_them():
    found = AnswerTokens((0.0,) * 4, (True,) * 4, (0.0,) * 4, (1.0,) * 4, (1, 2, 100, 101))
    assert formulas.mean_reciprocal_rank(found) == pytest.approx((1 + 1 / 2 + 1 / 100 + 1 / 101) / 4)
    assert formulas.top_hit_ratio(found) == pytest.approx(3 / 4)
    assert formulas.mean_reciprocal_rank(None) is formulas.top_hit_ratio(None) is None


@pytest.mark.parametrize(
    ("greedy", "strength", "memorised"),
    [
        ((True, True, True, True), 1.0, 1.0),
        ((False, True, True, True), 0.75, 0.75),
        ((True, False, True, True), 0.5, 0.75),
        ((True, True, True, False), 0.0, 0.75),
        ((False,), 0.0, 0.0),
    ],
)
def test_extraction_and_memorisation(greedy, strength, memorised):
    found = tokens(*(-1.0,) * len(greedy), greedy=greedy)
    assert formulas.extraction_strength(found) == strength
    assert formulas.exact_memorization(found) == memorised


def test_membership_scores():
    found = tokens(
        -1.0, -4.0, -2.0, -3.0, -5.0, means=(-1.0, -2.0, -1.0, -1.0, -1.0), spreads=(1.0, 2.0, 1.0, 0.5, 2.0)
    )
    assert formulas.loss_score(found) == pytest.approx(-3.0)
    assert formulas.min_k_score(found) == pytest.approx(-4.5)  # two of five
    assert formulas.min_k_score(found, k=0.01) == pytest.approx(-5.0)  # one at least
    assert formulas.min_k_plus_score(found) == pytest.approx((-4.0 - 2.0) / 2)  # of 0, -1, -1, -4, -2
    assert formulas.min_k_plus_score(tokens(-1.0, spreads=(0.0,), means=(-1.0,))) == 0.0
    assert formulas.zlib_score(found, "some text") == pytest.approx(-3.0 / len(zlib.compress(b"some text")))


def test_the_end_of_an_answer_is_a_token_of_its_likelihood_alone():
    """As TOFU and open-unlearning count: probability, truth ratio, loss and zlib with it; min-k and extraction
    without."""
    whole = AnswerTokens((-1.0, -3.0), (True, True), (0.0, 0.0), (1.0, 1.0), (1, 1), end=-8.0)
    assert formulas.loss_score(whole) == pytest.approx(-4.0)
    assert formulas.zlib_score(whole, "text") == pytest.approx(-4.0 / len(zlib.compress(b"text")))
    assert formulas.min_k_score(whole, k=0.01) == -3.0
    assert formulas.extraction_strength(whole) == 1.0


def test_what_is_no_number_is_undefined_wherever_it_stands():
    none = float("nan")
    for place in range(3):
        logprobs = [-1.0, -2.0, -3.0]
        logprobs[place] = none
        found = tokens(*logprobs)
        assert math.isnan(formulas.min_k_score(found))
        assert math.isnan(formulas.min_k_plus_score(found))
        seen = Observation(ForgetSample("1", "Q?", "A"), "forget", "Q?", "A", none, found, none, (-1.0,))
        metrics = default_plugins().metrics
        for name in ("mia_min_k", "mia_min_k++", "mia_loss", "truth_ratio", "answer_prob"):
            assert metrics.get(name).score(seen) is None


def test_muse_does_not_stem_and_tofu_does():
    metrics = default_plugins().metrics
    seen = Observation(ForgetSample("1", "Q?", "she writes stories"), "forget", "Q?", "she writing story")
    assert metrics.get("rougeL").score(seen) == pytest.approx(1.0)
    assert metrics.get("knowmem").score(seen) == pytest.approx(1 / 3)
    seen = Observation(
        ForgetSample("1", "Q?", "A"), "forget", "Q?", "A", continuation=Continuation("walked home", "walks home")
    )
    assert metrics.get("verbmem").score(seen) == pytest.approx(1 / 2)


def test_entropy_of_bigrams_and_trigrams():
    # a b a b: bigrams ab, ba, ab; trigrams aba, bab
    bigrams = -(2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3))
    assert formulas.ngram_entropy("a b a b") == pytest.approx((2 / 3 * bigrams + 4 / 3 * 1.0) / 2)
    assert formulas.ngram_entropy("no no no no") == 0.0
    assert formulas.ngram_entropy("one") is None


def test_nothing_is_a_silent_zero():
    empty = Observation(ForgetSample("1", "Who?", "Ann"), "forget", "Who?", "")
    scores = {metric.name: metric.score(empty) for metric in default_plugins().metrics if isinstance(metric, Formula)}
    words = {"rougeL", "rouge1", "knowmem"}  # of an empty reply: nothing of the answer stands there
    assert {name for name, score in scores.items() if score is not None} == words
    assert all(scores[name] == 0.0 for name in words)


def test_what_a_data_set_publishes_beside_the_answer():
    sample = ForgetSample("1", "Who?", "Ann")
    assert published_answers(sample) == ["Ann", "Ann"]
    extras = {"paraphrased_answer": "It is Ann.", "perturbed_answer": ["Bo", " ", 3, "Cy"]}
    assert published_answers(ForgetSample("1", "Who?", "Ann", extras=extras)) == ["Ann", "It is Ann.", "Bo", "Cy"]
    assert published_answers(ForgetSample("1", "Who?", "Ann", extras={"perturbed_answer": "Bo"})) == ["Ann", "Ann"]


def test_scoring_leaves_the_root_logger_alone():
    code = (
        "import logging\n"
        "from easyedit_unlearn.evaluation.metrics import _scorer\n"
        "_scorer(True).score('a b', 'a b')\n"
        "assert logging.getLogger().handlers == [] and logging.getLogger().level == logging.WARNING\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
