"""Unlearning losses: pure functions of tensors, each with its equation and paper.

Two forms. A loss of whole answers takes one number an item and returns a scalar. The ``*_terms`` take a row for each
answer token and return one number a token; their mean is taken over an item's tokens first and over
items then (:meth:`answers.Answers.mean`), so that neither long answers nor the way a batch is cut weigh in.

l_t is the cross-entropy of answer token t in nats, p_t = exp(-l_t), S = sum of l_t over an answer of |y| tokens, so
log pi(y) = -S. sg stops the gradient.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

Scalar = Float[Tensor, ""]
Items = Float[Tensor, " batch"]
Tokens = Float[Tensor, " tokens"]
Logits = Float[Tensor, "tokens vocabulary"]
Labels = Int[Tensor, " tokens"]


def mean_nll(total: Items, count: Float[Tensor, " batch"] | Int[Tensor, " batch"]) -> Scalar:
    """NLL(B) = mean_i S_i / |y_i|.

    Args:
        total: S_i, the sum of answer-token cross-entropies in nats.
        count: |y_i|, the number of answer tokens; an item without any counts as 0.

    Returns:
        A scalar in nats per token.
    """
    _same(total, count)
    return (total / count.clamp(min=1)).mean()


def graddiff(forget_nll: Scalar, retain_nll: Scalar, gamma: float, alpha: float) -> Scalar:
    """Gradient difference: L = -gamma NLL(F) + alpha NLL(R) (TOFU, arXiv 2401.06121, section 4.1, "Gradient
    Difference"; first as "GradDiff" in arXiv 2203.12817).

    Args:
        forget_nll, retain_nll: as from :func:`mean_nll`.
        gamma, alpha: weights of ascent on the forget set and of descent on the retain set.
    """
    return -gamma * forget_nll + alpha * retain_nll


def preference(refusal_nll: Scalar, retain_nll: Scalar, gamma: float, alpha: float) -> Scalar:
    """Preference optimisation: L = gamma NLL(F_idk) + alpha NLL(R) (TOFU, arXiv 2401.06121, section 4.1).

    Args:
        refusal_nll, retain_nll: as from :func:`mean_nll`, of the forget set's refusals and the retain set.
        gamma, alpha: their weights.
    """
    return gamma * refusal_nll + alpha * retain_nll


def npo(logprob: Items, reference: Items, beta: float) -> Scalar:
    """Negative preference optimisation: L = -(2 / beta) mean log sigmoid(-beta (log pi(y) - log ref(y)))
    (arXiv 2404.05868, equation 3).

    Args:
        logprob, reference: log pi(y) and log ref(y) of what is to be forgotten, in nats.
    """
    _same(logprob, reference)
    return -2 / beta * logsigmoid(-beta * (logprob - reference)).mean()


def simnpo(mean_logprob: Items, beta: float, delta: float) -> Scalar:
    """SimNPO: L = -(2 / beta) mean log sigmoid(-beta log pi(y) / |y| - delta) (arXiv 2410.07163, equation 4, where
    delta is called gamma; open-unlearning subtracts its delta before it multiplies by beta: ours is beta times theirs).

    Args:
        mean_logprob: log pi(y) / |y|, in nats per token.
    """
    return -2 / beta * logsigmoid(-beta * mean_logprob - delta).mean()


def dpo(preferred: Items, preferred_reference: Items, other: Items, other_reference: Items, beta: float) -> Scalar:
    """Direct preference optimisation, the refusal over the answer: L = -(2 / beta) mean log sigmoid(beta
    [(log pi - log ref)(y_idk) - (log pi - log ref)(y)]) (arXiv 2305.18290, equation 7, which has no factor, nor has
    TOFU's code; scaled by 2 / beta as NPO is, arXiv 2404.05868, and as open-unlearning and arXiv 2410.08109 have it).

    Args:
        preferred, other: log pi of the refusal and of the answer; the others are the same of the reference.
    """
    _same(preferred, preferred_reference, other, other_reference)
    return -2 / beta * logsigmoid(beta * ((preferred - preferred_reference) - (other - other_reference))).mean()


def answer_preservation(answer: Items, refusal: Items, beta: float) -> Scalar:
    """The AP of IDK+AP: L = -(1 / beta) mean log sigmoid(beta [log pi(y | x) - log pi(y_idk | x)]) for x of the retain
    set: its true answer before a refusal (arXiv 2410.08109, section 4.3).

    Args:
        answer, refusal: log pi of both as replies to the same retain question.
    """
    _same(answer, refusal)
    return -1 / beta * logsigmoid(beta * (answer - refusal)).mean()


def wga_terms(nll: Tokens, beta: float) -> Tokens:
    """Weighted gradient ascent: -sg(p_t)^beta l_t (arXiv 2502.19301, "WGA"), from l_t to a term each."""
    return -((-beta * nll.detach()).exp() * nll)


def satimp_terms(nll: Tokens, beta1: float, beta2: float) -> Tokens:
    """SatImp: -sg(p_t)^beta1 sg(1 - p_t)^beta2 l_t (arXiv 2505.11953), from l_t to a term each."""
    p = (-nll.detach()).exp()
    return -(p**beta1 * (1 - p) ** beta2 * nll)


def ceu_terms(logits: Logits, labels: Labels) -> Tokens:
    """Cross-entropy unlearning: CE(q, softmax(z)) with q = softmax of sg(z) whose true token is at -inf
    (arXiv 2503.01224); ``labels`` are the true tokens."""
    target = logits.detach().scatter(1, labels[:, None], float("-inf")).softmax(-1)
    return _cross_entropy(target, logits)


def undial_terms(logits: Logits, labels: Labels, reference: Logits, beta: float) -> Tokens:
    """Self-distillation with adjusted logits: CE(softmax(z_ref - beta onehot(y)), softmax(z)) (arXiv 2402.10052,
    section 3.2), of the model and of the frozen one; ``labels`` are the true tokens."""
    _same(logits, reference)
    taken = torch.full_like(labels, -beta, dtype=reference.dtype)[:, None]
    return _cross_entropy(reference.scatter_add(1, labels[:, None], taken).softmax(-1), logits)


def kl_terms(logits: Logits, reference: Logits) -> Tokens:
    """KL(p_ref || p) of the next token at each answer position, in nats (the retain term of TOFU's "KL Minimization",
    arXiv 2401.06121, section 4.1, over answer positions only)."""
    _same(logits, reference)
    frozen = log_softmax(reference, -1)
    return (frozen.exp() * (frozen - log_softmax(logits, -1))).sum(-1)


def flatness_terms(logits: Logits) -> Tokens:
    """(max_v z - mean_v z)^2: zero where the next token is anybody's guess (PDU, arXiv 2506.05314)."""
    return (logits.amax(-1) - logits.mean(-1)) ** 2


def misdirection_terms(
    hidden: Float[Tensor, "tokens d_model"], towards: Float[Tensor, " d_model"] | Float[Tensor, "tokens d_model"]
) -> Tokens:
    """RMU: the mean over features of (h - t)^2, with t = c u on what to forget and t = h_ref on what to retain
    (arXiv 2403.03218, section 4.1).

    Args:
        hidden: h of one layer. towards: t.
    """
    if towards.shape != hidden.shape[-towards.dim() :]:
        raise ValueError(f"hidden {tuple(hidden.shape)} and what it is moved to {tuple(towards.shape)} do not fit")
    return ((hidden - towards) ** 2).mean(-1)


def _cross_entropy(target: Logits, logits: Logits) -> Tokens:
    return -(target * log_softmax(logits, -1)).sum(-1)


def _same(*tensors: Tensor) -> None:
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        raise ValueError(f"these must have one shape, got {', '.join(map(str, (tuple(t.shape) for t in tensors)))}")
