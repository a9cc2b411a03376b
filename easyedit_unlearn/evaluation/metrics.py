"""The metrics of one observation, from ``formulas``; means and intervals are taken elsewhere, once for all."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

from easyedit_unlearn.components import Metric
from easyedit_unlearn.evaluation import formulas
from easyedit_unlearn.text import gives_answer, is_refusal
from easyedit_unlearn.types import Observation

Direction = Literal["up", "down", "none"]


class AnswerRate(Metric):
    """1 when the reply gives the answer or an alias (see ``text.gives_answer``)."""

    name, summary, direction, proportion = "answer_rate", "The reply gives the answer or an alias.", "down", True

    def score(self, observation: Observation) -> float:
        return float(gives_answer(observation.text, observation.sample.question, observation.sample.answers))


class RefusalRate(Metric):
    """1 when the reply refuses (see ``text.is_refusal``); on retain and holdout this is over-refusal."""

    name, summary, direction, proportion = "refusal_rate", "The reply is a refusal.", "up", True

    def score(self, observation: Observation) -> float:
        return float(is_refusal(observation.text))


class AnswerProbability(Metric):
    """exp of the mean log-probability per answer token: p(y|q)^(1/|y|) (TOFU, arXiv 2401.06121, section 2.2.1)."""

    name, summary, direction = "answer_prob", "Length-normalised probability of the answer.", "down"

    def score(self, observation: Observation) -> float | None:
        return None if observation.answer_logprob is None else math.exp(observation.answer_logprob)


class Formula(Metric):
    """A metric that is one function of the observation; None where that is undefined."""

    def __init__(
        self, name: str, summary: str, direction: Direction, function: Callable[[Observation], float | None]
    ) -> None:
        self.name, self.summary, self.direction, self._function = name, summary, direction, function

    def score(self, observation: Observation) -> float | None:
        return self._function(observation)


def formula_metrics() -> list[Metric]:
    """What the unlearning literature reports. The ``mia_`` ones score one sample, higher for what was trained on.

    Undefined: what goes on with an answer of fewer than eight words, what was not asked for, what compares with wrong
    answers where the data set has none, what reads an answer without tokens, and the entropy of a reply of one word.
    """
    f = formulas
    return [
        Formula("rougeL", "ROUGE-L recall of the answer in the reply (TOFU).", "down", _rouge("rougeL", "recall")),
        Formula("rouge1", "ROUGE-1 recall of the answer in the reply (TOFU).", "down", _rouge("rouge1", "recall")),
        Formula("knowmem", "ROUGE-L F1 of the reply and the answer (MUSE).", "down", _rouge("rougeL", "fmeasure")),
        Formula("verbmem", "ROUGE-L F1 of the answer's second half, after its first (MUSE).", "down", _verbmem),
        Formula("prob_normalised", "The answer's probability over its and the wrong ones' (TOFU).",
                "down", lambda o: f.normalised_probability(o.answer_logprob, o.wrong_logprobs)),
        Formula("truth_ratio", "Probability of wrong answers over the right one's (TOFU).",
                "none", lambda o: f.truth_ratio(o.correct_logprob, o.wrong_logprobs)),
        Formula("extraction_strength", "Share of the answer that greedy decoding completes.", "down",
                lambda o: f.extraction_strength(o.answer_tokens)),
        Formula("exact_memorization", "Share of the answer's tokens that are the likeliest.", "down",
                lambda o: f.exact_memorization(o.answer_tokens)),
        Formula("mia_loss", "Membership by loss.", "down", lambda o: f.loss_score(o.answer_tokens)),
        Formula("mia_zlib", "Membership by loss over compressed length.", "down",
                lambda o: f.zlib_score(o.answer_tokens, o.sample.answer)),
        Formula("mia_min_k", "Membership by the least likely tokens (Min-K%).", "down",
                lambda o: f.min_k_score(o.answer_tokens)),
        Formula("mia_min_k++", "The same against what could stand there (Min-K%++).", "down",
                lambda o: f.min_k_plus_score(o.answer_tokens)),
        Formula("mia_gradnorm", "Membership by the loss's gradient (its norm, negated); asked for by gradnorm.", "down",
                lambda o: None if o.gradient_norm is None else -o.gradient_norm),
        Formula("ngram_entropy", "Fluency of the reply, in bits.", "none",
                lambda o: f.ngram_entropy(o.text)),
    ]  # fmt: skip


def _rouge(kind: str, part: str) -> Callable[[Observation], float]:
    """With stemming, as TOFU has it (section 2.2.1)."""
    return lambda observation: float(getattr(_scorer().score(observation.sample.answer, observation.text)[kind], part))


def _verbmem(observation: Observation) -> float | None:
    going = observation.continuation
    return None if going is None else float(_scorer().score(going.wanted, going.said)["rougeL"].fmeasure)


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
