"""Every unlearning loss against its equation, in float64: value and gradient, by hand."""

from __future__ import annotations

import math

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from easyedit_unlearn.baselines import losses

Z = [[0.3, -1.2, 0.8], [1.0, 0.5, -0.5]]
REFERENCE = [[0.1, 0.2, -0.4], [-1.0, 2.0, 0.0]]
LABELS = [2, 0]


def leaf(values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def softmax(z):
    weights = [math.exp(x) for x in z]
    return [w / sum(weights) for w in weights]


def gradient(loss, *leaves):
    return [g.tolist() for g in torch.autograd.grad(loss, leaves)]


def test_mean_nll_weighs_items_not_tokens():
    total = torch.tensor([6.0, 1.0, 0.0], dtype=torch.float64)
    assert losses.mean_nll(total, torch.tensor([3, 1, 0])).item() == pytest.approx((6 / 3 + 1 / 1 + 0) / 3)
    with pytest.raises(ValueError, match=r"must have one shape, got \(1,\), \(3,\)|got \(3,\), \(1,\)"):
        losses.mean_nll(total, torch.tensor([1]))


@pytest.mark.parametrize(("loss", "sign"), [(losses.graddiff, -1), (losses.preference, 1)])
def test_ascent_and_preference(loss, sign):
    forget, retain = leaf(0.7), leaf(0.2)
    value = loss(forget, retain, gamma=2.0, alpha=0.5)
    assert value.item() == pytest.approx(sign * 2 * 0.7 + 0.5 * 0.2)
    assert gradient(value, forget, retain) == [sign * 2.0, 0.5]


def test_npo():
    logprob, reference = leaf([-3.0, -1.0]), leaf([-3.0, -2.0])
    value = losses.npo(logprob, reference, beta=0.5)
    assert value.item() == pytest.approx(-(2 / 0.5) * (math.log(0.5) + math.log(sigmoid(-0.5))) / 2)
    # d/dx of -(2/b) log sigmoid(-b x) is 2 sigmoid(b x)
    assert gradient(value, logprob)[0] == pytest.approx([2 * 0.5 / 2, 2 * sigmoid(0.5) / 2])


def test_npo_is_gradient_ascent_for_small_beta():
    logprob = leaf([-3.0, -1.0])
    value = losses.npo(logprob, logprob.detach() + 1.0, beta=1e-6)
    assert gradient(value, logprob)[0] == pytest.approx([0.5, 0.5], rel=1e-5)  # that of mean log pi


def test_simnpo():
    mean_logprob = leaf([-0.5, -2.0])
    value = losses.simnpo(mean_logprob, beta=2.0, delta=0.3)
    assert value.item() == pytest.approx(-(math.log(sigmoid(1.0 - 0.3)) + math.log(sigmoid(4.0 - 0.3))) / 2)
    assert gradient(value, mean_logprob)[0] == pytest.approx([sigmoid(-0.7), sigmoid(-3.7)])


def test_dpo():
    refusal, refusal_before, answer, answer_before = (leaf([x]) for x in (-5.0, -9.0, -2.0, -1.0))
    value = losses.dpo(refusal, refusal_before, answer, answer_before, beta=0.2)
    margin = 0.2 * ((-5 + 9) - (-2 + 1))
    assert value.item() == pytest.approx(-2 * math.log(sigmoid(margin)) / 0.2)
    towards, away = gradient(value, refusal, answer)
    assert towards == pytest.approx([-2 * sigmoid(-margin)])
    assert away == pytest.approx([2 * sigmoid(-margin)])
    with pytest.raises(ValueError, match="must have one shape"):
        losses.dpo(refusal, refusal_before, answer, leaf([1.0, 2.0]), beta=0.2)


def test_answer_preservation_prefers_the_true_answer():
    answer, refusal = leaf([-4.0]), leaf([-1.0])
    value = losses.answer_preservation(answer, refusal, beta=0.5)
    assert value.item() == pytest.approx(-math.log(sigmoid(0.5 * (-4 + 1))) / 0.5)
    assert gradient(value, answer, refusal) == [pytest.approx([-sigmoid(1.5)]), pytest.approx([sigmoid(1.5)])]


def test_wga_and_satimp_weigh_tokens_without_a_gradient_of_the_weight():
    nll = leaf([0.1, 2.0])
    p = [math.exp(-0.1), math.exp(-2.0)]
    wga = losses.wga_terms(nll, beta=2.0)
    assert wga.tolist() == pytest.approx([-(p[0] ** 2) * 0.1, -(p[1] ** 2) * 2.0])
    assert gradient(wga.sum(), nll)[0] == pytest.approx([-(p[0] ** 2), -(p[1] ** 2)])
    assert losses.wga_terms(nll, beta=0.0).tolist() == pytest.approx([-0.1, -2.0])  # gradient ascent
    satimp = losses.satimp_terms(nll, beta1=2.0, beta2=3.0)
    weights = [q**2 * (1 - q) ** 3 for q in p]
    assert satimp.tolist() == pytest.approx([-weights[0] * 0.1, -weights[1] * 2.0])
    assert gradient(satimp.sum(), nll)[0] == pytest.approx([-w for w in weights])


def test_ceu_moves_to_the_distribution_without_the_true_token():
    z = leaf(Z)
    terms = losses.ceu_terms(z, torch.tensor(LABELS))
    for row, label, term, grad in zip(Z, LABELS, terms.tolist(), gradient(terms.sum(), z)[0], strict=True):
        p = softmax(row)
        q = [0.0 if v == label else p[v] / (1 - p[label]) for v in range(3)]
        assert term == pytest.approx(-sum(qv * math.log(pv) for qv, pv in zip(q, p, strict=True)))
        assert grad == pytest.approx([pv - qv for qv, pv in zip(q, p, strict=True)])


def test_undial_lowers_the_frozen_models_true_token():
    z, reference = leaf(Z), torch.tensor(REFERENCE, dtype=torch.float64)
    terms = losses.undial_terms(z, torch.tensor(LABELS), reference, beta=1.5)
    found = gradient(terms.sum(), z)[0]
    for row, frozen, label, term, grad in zip(Z, REFERENCE, LABELS, terms.tolist(), found, strict=True):
        p, q = softmax(row), softmax([x - 1.5 * (v == label) for v, x in enumerate(frozen)])
        assert term == pytest.approx(-sum(qv * math.log(pv) for qv, pv in zip(q, p, strict=True)))
        assert grad == pytest.approx([pv - qv for qv, pv in zip(q, p, strict=True)])
    assert reference.tolist() == REFERENCE


def test_flatness_is_zero_for_flat_logits():
    z = leaf(Z)
    terms = losses.flatness_terms(z)
    for row, term, grad in zip(Z, terms.tolist(), gradient(terms.sum(), z)[0], strict=True):
        gap = max(row) - sum(row) / 3
        assert term == pytest.approx(gap**2)
        assert grad == pytest.approx([2 * gap * ((x == max(row)) - 1 / 3) for x in row])
    assert losses.flatness_terms(torch.full((1, 4), 2.5)).item() == 0


def test_misdirection_is_a_mean_over_features():
    hidden, direction = leaf([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([1.0, 0.0], dtype=torch.float64)
    terms = losses.misdirection_terms(hidden, direction)
    assert terms.tolist() == [(0 + 4) / 2, (1 + 1) / 2]
    assert gradient(terms.sum(), hidden)[0] == [[0.0, 2.0], [-1.0, -1.0]]
    assert losses.misdirection_terms(hidden, hidden.detach()).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="do not fit"):
        losses.misdirection_terms(hidden, direction[:1])


def test_kl_is_zero_with_a_zero_gradient_at_the_frozen_model():
    z = leaf(Z)
    terms = losses.kl_terms(z, torch.tensor(REFERENCE, dtype=torch.float64))
    found = gradient(terms.sum(), z)[0]
    for row, frozen, term, grad in zip(Z, REFERENCE, terms.tolist(), found, strict=True):
        p, q = softmax(row), softmax(frozen)
        assert term == pytest.approx(sum(qv * math.log(qv / pv) for qv, pv in zip(q, p, strict=True)))
        assert grad == pytest.approx([pv - qv for qv, pv in zip(q, p, strict=True)])
    same = losses.kl_terms(z, z.detach())
    assert same.tolist() == pytest.approx([0, 0], abs=1e-12)
    assert [g for row in gradient(same.sum(), z)[0] for g in row] == pytest.approx([0] * 6, abs=1e-12)
