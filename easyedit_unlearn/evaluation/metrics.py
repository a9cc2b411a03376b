"""The core metrics. Each scores one observation; means and intervals are taken elsewhere, once for all."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from easyedit_unlearn.components import Metric
from easyedit_unlearn.text import gives_answer, is_refusal
from easyedit_unlearn.types import Observation


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


class RougeL(Metric):
    """ROUGE-L recall of the answer in the greedy reply, with stemming (TOFU, arXiv 2401.06121, section 2.2.1)."""

    name, summary, direction = "rougeL", "ROUGE-L recall of the answer in the reply.", "down"

    def score(self, observation: Observation) -> float:
        return float(_scorer().score(observation.sample.answer, observation.text)["rougeL"].recall)


class AnswerProbability(Metric):
    """exp of the mean log-probability per answer token: p(y|q)^(1/|y|) (TOFU, arXiv 2401.06121, section 2.2.1)."""

    name, summary, direction = "answer_prob", "Length-normalised probability of the answer.", "down"

    def score(self, observation: Observation) -> float | None:
        return None if observation.answer_logprob is None else math.exp(observation.answer_logprob)


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)
