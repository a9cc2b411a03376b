"""Every metric against a reference of its own, written from its definition in forty digits, on random answers."""

from __future__ import annotations

import random
import re
import zlib
from collections import Counter
from fractions import Fraction
from itertools import combinations

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from mpmath import exp, log, mp, mpf, sqrt

from easyedit_unlearn import ForgetSample
from easyedit_unlearn.evaluation.aggregate import balance, wilson
from easyedit_unlearn.model.forced import _tokens, _with_end
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.types import Continuation, Observation

mp.dps = 40
VOCABULARY, LENGTH, K = 120, 11, mpf("0.4")
WORDS = "the a writer writes writing wrote books of bridges running runs river rivers and".split()


def near(found, wanted):
    return abs(mpf(found) - wanted) < mpf(10) ** -10


def logits_of(seed, rows=LENGTH):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, VOCABULARY, generator=generator, dtype=torch.float64)
    labels = torch.randint(VOCABULARY, (rows,), generator=generator)
    labels[rows // 2 :] = logits[rows // 2 :].argmax(-1)  # the end is known by heart
    return logits, labels


def logprobs_of(logits):
    rows = [[mpf(x) for x in row] for row in logits.tolist()]
    return [[x - log(sum(exp(y) for y in row)) for x in row] for row in rows]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.fixture(scope="module")
def answer():
    """An observation of an answer with its end, of two wrong ones, and the same in forty digits."""
    logits, labels = logits_of(0)
    tokens = _with_end(_tokens(logits, labels))
    exact = logprobs_of(logits)
    own = [row[y] for row, y in zip(exact, labels.tolist(), strict=True)]
    wrong = [mean(row[y] for row, y in zip(logprobs_of(z), t.tolist(), strict=True)) for z, t in map(logits_of, (1, 2))]
    seen = Observation(
        ForgetSample("1", "Q?", "the writer writes of bridges"), "forget", "Q?", "rivers wrote of the writing writer",
        float(mean(own)), tokens, float(mean(own)), tuple(map(float, wrong)),
        Continuation("running rivers and books", "runs rivers and a books"),
    )  # fmt: skip
    return seen, exact, own, labels.tolist(), wrong


def score(name, seen):
    return default_plugins().metrics.get(name).score(seen)


def test_probability_truth_ratio_and_the_share_among_wrong_answers(answer):
    seen, _, own, _, wrong = answer
    assert near(score("answer_prob", seen), exp(mean(own)))  # of which the last token is the end
    assert near(score("truth_ratio", seen), exp(mean(wrong) - mean(own)))
    assert near(score("prob_normalised", seen), exp(mean(own)) / (exp(mean(own)) + sum(map(exp, wrong))))


def test_ranks_extraction_and_memorisation(answer):
    seen, exact, _, labels, _ = answer
    rows, labels = exact[:-1], labels[:-1]  # without the end
    ranks = [1 + sum(x > row[y] for x in row) for row, y in zip(rows, labels, strict=True)]
    assert near(score("mrr", seen), mean(mpf(1) / rank for rank in ranks))
    assert near(score("top_hit_ratio", seen), mean(mpf(rank <= 100) for rank in ranks))
    hits = [rank == 1 for rank in ranks]
    assert near(score("exact_memorization", seen), mean(map(mpf, hits)))
    given = next(k for k in range(len(hits) + 1) if all(hits[k:]))
    assert 0 < given < len(hits)
    assert near(score("extraction_strength", seen), 1 - mpf(given) / len(hits))


def test_membership_scores(answer):
    seen, exact, own, _, _ = answer
    assert near(score("mia_loss", seen), mean(own))
    assert near(score("mia_zlib", seen), mean(own) / len(zlib.compress(seen.sample.answer.encode())))
    few = int(K * len(own[:-1]))
    assert near(score("mia_min_k", seen), mean(sorted(own[:-1])[:few]))
    normed = []
    for row, chosen in zip(exact[:-1], own[:-1], strict=True):
        centre = sum(exp(x) * x for x in row)
        normed.append((chosen - centre) / sqrt(sum(exp(x) * (x - centre) ** 2 for x in row)))
    assert near(score("mia_min_k++", seen), mean(sorted(normed)[:few]))


def words_of(text, stem):
    from nltk.stem.porter import PorterStemmer

    found = re.findall("[a-z0-9]+", text.lower())
    return [PorterStemmer().stem(word) if stem and len(word) > 3 else word for word in found]


def common(a, b):
    """The length of the longest common subsequence, by trying all of the shorter one's."""
    return max(
        len(chosen) for size in range(len(a) + 1) for chosen in combinations(a, size)
        if (rest := iter(b)) is not None and all(word in rest for word in chosen)
    )  # fmt: skip


def f1(wanted, said):
    together = mpf(common(wanted, said))
    precision, recall = together / len(said), together / len(wanted)
    return 2 * precision * recall / (precision + recall) if together else mpf(0)


def test_rouge_with_stems_for_tofu_and_without_for_muse(answer):
    seen = answer[0]
    wanted, said = (words_of(text, True) for text in (seen.sample.answer, seen.text))
    assert near(score("rougeL", seen), mpf(common(wanted, said)) / len(wanted))
    overlap = sum((Counter(wanted) & Counter(said)).values())
    assert near(score("rouge1", seen), mpf(overlap) / len(wanted))
    assert near(score("knowmem", seen), f1(words_of(seen.sample.answer, False), words_of(seen.text, False)))
    going = seen.continuation
    assert near(score("verbmem", seen), f1(words_of(going.wanted, False), words_of(going.said, False)))


def test_entropy_of_bigrams_and_trigrams(answer):
    words = random.Random(0).choices(WORDS, k=60)
    found = []
    for n, weight in ((2, mpf(2) / 3), (3, mpf(4) / 3)):
        counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        shares = [mpf(count) / counts.total() for count in counts.values()]
        found.append(-weight * sum(share * log(share, 2) for share in shares))
    seen = Observation(ForgetSample("1", "Q?", "A"), "forget", "Q?", " ".join(words))
    assert near(score("ngram_entropy", seen), mean(found))


def overall(name, scores, reference=None):
    return default_plugins().metrics.get(name).value(scores, reference)


def two_sided(ratios, reference):
    """The share of all ways to interleave two samples whose distance is at least what it is: Kolmogorov-Smirnov's
    p-value, exactly."""
    n, m = len(ratios), len(reference)

    def distance(first):
        a = b = 0
        found = Fraction(0)
        for place in range(n + m):
            a, b = a + (place in first), b + (place not in first)
            found = max(found, abs(Fraction(a, n) - Fraction(b, m)))
        return found

    order = sorted([(value, True) for value in ratios] + [(value, False) for value in reference])
    own = distance({place for place, (_, mine) in enumerate(order) if mine})
    every = [distance(set(chosen)) >= own for chosen in combinations(range(n + m), n)]
    return mpf(sum(every)) / len(every)


def test_forget_quality_is_the_exact_p_value():
    draw = random.Random(1)
    ratios, reference = ([draw.random() * scale for _ in range(6)] for scale in (1.0, 2.5))
    found = overall("forget_quality", {"forget": {"truth_ratio": ratios}}, {"forget": {"truth_ratio": reference}})
    assert near(found, two_sided(ratios, reference))
    assert 0.01 < found < 0.9


def test_membership_over_sets_and_the_leak_of_privacy():
    draw = random.Random(2)

    def scores(shift):
        forget, holdout = ([round(draw.gauss(x, 1), 1) for _ in range(25)] for x in (shift, 0))
        return {
            "forget": {"mia_min_k": forget, "mia_loss": forget},
            "holdout": {"mia_min_k": holdout, "mia_loss": holdout},
        }

    def area(found):
        pairs = [(a, b) for a in found["forget"]["mia_min_k"] for b in found["holdout"]["mia_min_k"]]
        return mean(mpf(a > b) + mpf(a == b) / 2 for a, b in pairs)

    own, other = scores(0.8), scores(0.1)
    assert near(overall("mia_min_k_auc", own), area(own))
    leak = 100 * ((1 - area(own)) - (1 - area(other))) / (1 - area(other))
    assert near(overall("privleak", own, other), leak)


def test_utility_forget_truth_ratio_and_the_composite():
    draw = random.Random(3)

    def some(high=1.0):
        return [draw.uniform(0.1, high) for _ in range(5)]

    names = ("answer_prob", "prob_normalised", "rougeL", "rouge1")
    scores = {
        group: {name: some() for name in names} | {"truth_ratio": some(2.0)}
        for group in ("forget", "retain", "real_authors", "world_facts")
    }
    exact = {g: {n: [mpf(x) for x in values] for n, values in one.items()} for g, one in scores.items()}
    parts = []
    for group, probability in (
        ("retain", "answer_prob"),
        ("real_authors", "prob_normalised"),
        ("world_facts", "prob_normalised"),
    ):
        one = exact[group]
        parts += [mean(one[probability]), mean(one["rougeL"]), mean(max(mpf(0), 1 - r) for r in one["truth_ratio"])]
    assert near(overall("model_utility", scores), len(parts) / sum(1 / part for part in parts))
    forget = exact["forget"]
    assert near(overall("forget_truth_ratio", scores), mean(min(r, 1 / r) for r in forget["truth_ratio"]))
    assert near(overall("composite", scores), 1 - mean(forget["rouge1"]) + mean(exact["retain"]["rouge1"]))


def test_balance_and_wilsons_interval():
    shares = {"forget_forgotten_rate": 0.9, "rephrase_forgotten_rate": 0.6}
    shares |= {"retain_answer_rate": 0.8, "holdout_answer_rate": 0.7}
    assert near(balance(shares), 4 / sum(1 / mpf(share) for share in shares.values()))
    z, n, p = mpf("1.959963984540054235524594430520551527953"), 27, mpf(23) / 27
    centre, half = p + z**2 / (2 * n), z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((centre + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    found = wilson(23, 27)
    assert near(found[0], low) and near(found[1], high)
