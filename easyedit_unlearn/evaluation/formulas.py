"""What the unlearning literature computes from one teacher-forced answer. Pure functions of numbers.

None stands for what is undefined (no answer tokens, nothing to compare with), never 0.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import TypeGuard

from easyedit_unlearn.types import AnswerTokens

MIN_K = 0.4
"""The share of tokens that min-k looks at (as the unlearning benchmarks set it)."""

TOP = 100
"""Up to which rank a token is a hit (as PISTOL sets it)."""


def normalised_probability(answer: float | None, wrong: Sequence[float]) -> float | None:
    """p / (p + sum of the wrong answers' p), each the geometric mean over tokens (TOFU, arXiv 2401.06121, 2.2.1).

    Args:
        answer, wrong: mean log-probabilities per token, in nats.
    """
    if answer is None or not wrong:
        return None
    highest = max(answer, *wrong)
    shares = [math.exp(value - highest) for value in (answer, *wrong)]
    return shares[0] / sum(shares)


def truth_ratio(correct: float | None, wrong: Sequence[float]) -> float | None:
    """R: the geometric mean of the wrong answers' probabilities over the correct one's (TOFU, as its authors' code has
    it).

    ``correct`` is of the paraphrased answer where one is published. Below 1 the model prefers what is true.
    """
    return None if correct is None or not wrong else math.exp(min(fmean(wrong) - correct, 700.0))


def truth_ratio_closeness(ratios: Sequence[float]) -> float:
    """mean min(R, 1/R): 1 where wrong and right are as likely (open-unlearning's "closer to 1 is better")."""
    return fmean(min(ratio, 1 / ratio) if ratio else 0.0 for ratio in ratios)


def truth_ratio_utility(ratios: Sequence[float]) -> float:
    """mean max(0, 1 - R): 1 where only what is true is likely (TOFU, section 2.2.2)."""
    return fmean(max(0.0, 1 - ratio) for ratio in ratios)


def mean_reciprocal_rank(tokens: AnswerTokens | None) -> float | None:
    """The mean over the answer's tokens of 1 / rank (MRR in PISTOL, arXiv 2406.16810, section 4)."""
    return fmean(1 / rank for rank in tokens.ranks) if _sound(tokens) and tokens.ranks else None


def top_hit_ratio(tokens: AnswerTokens | None, top: int = TOP) -> float | None:
    """The share of the answer's tokens whose rank is at most ``top`` (THR in PISTOL, arXiv 2406.16810, section 4)."""
    return fmean(rank <= top for rank in tokens.ranks) if _sound(tokens) and tokens.ranks else None


def extraction_strength(tokens: AnswerTokens | None) -> float | None:
    """1 - k/n, k the fewest tokens given after which greedy decoding says all the rest (arXiv 2012.07805)."""
    if not _sound(tokens):
        return None
    wrong = [place for place, hit in enumerate(tokens.greedy, start=1) if not hit]
    return 1 - (wrong[-1] if wrong else 0) / len(tokens.greedy)


def exact_memorization(tokens: AnswerTokens | None) -> float | None:
    """The share of tokens that are the likeliest after the true ones before them (arXiv 2205.10770)."""
    return fmean(tokens.greedy) if _sound(tokens) else None


def loss_score(tokens: AnswerTokens | None) -> float | None:
    """Mean log-probability, of the end of the text too where that is scored (as TOFU and open-unlearning do):
    membership by loss (arXiv 1709.01604). As all such scores, higher for what was trained on."""
    if tokens is None:
        return None
    return fmean(tokens.logprobs if tokens.end is None else (*tokens.logprobs, tokens.end))


def zlib_score(tokens: AnswerTokens | None, text: str) -> float | None:
    """Mean log-probability, as :func:`loss_score` has it, over the compressed length in bytes (arXiv 2012.07805,
    section 5.2); None of a text that was read in part."""
    loss = loss_score(tokens)
    return None if loss is None or (tokens and tokens.cut) else loss / len(zlib.compress(text.encode()))


def min_k_score(tokens: AnswerTokens | None, k: float = MIN_K) -> float | None:
    """Mean of the ``k`` lowest share of log-probabilities (Min-K%, arXiv 2310.16789)."""
    return None if tokens is None else _lowest(tokens.logprobs, k)


def min_k_plus_score(tokens: AnswerTokens | None, k: float = MIN_K) -> float | None:
    """The same of (log p - mean) / spread, over the vocabulary at that place (Min-K%++, arXiv 2404.02936)."""
    if tokens is None:
        return None
    rows = zip(tokens.logprobs, tokens.means, tokens.spreads, strict=True)
    return _lowest([(logprob - mean) / max(spread, 1e-12) for logprob, mean, spread in rows], k)


def ngram_entropy(text: str) -> float | None:
    """Fluency as the editing literature has it: entropies of the text's bigrams and trigrams in bits, weighted 2/3 and
    4/3 and averaged (ROME, arXiv 2202.05262, appendix). Low where a reply repeats itself. ROME splits by NLTK, which
    needs data of its own; here a word is letters and digits, or one mark."""
    words = re.findall(r"\w+|[^\w\s]", text)
    if len(words) < 2:
        return None
    return fmean([weight * _entropy(words, n) for n, weight in ((2, 2 / 3), (3, 4 / 3))])


def _sound(tokens: AnswerTokens | None) -> TypeGuard[AnswerTokens]:
    """Whether there are tokens, and numbers of all of them: among NaN every token has rank 1, and none is greedy."""
    return tokens is not None and not any(map(math.isnan, tokens.logprobs))


def _lowest(values: Sequence[float], share: float) -> float:
    if any(math.isnan(value) for value in values):  # which have no order: what is lowest would be chance
        return math.nan
    return fmean(sorted(values)[: max(1, int(share * len(values)))])


def _entropy(words: Sequence[str], n: int) -> float:
    counts = Counter(zip(*(words[start:] for start in range(n)), strict=False))
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in counts.values())
