"""Every loss against a reference of its own, written from the paper's equation in forty digits: value and gradient.

The references know nothing of our code: they are sums over the tokens of each answer, from logits to one number, and
their gradients are differences at a distance of 1e-15.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from mpmath import exp, log, mp, mpf

from easyedit_unlearn.baselines.answers import Answers
from easyedit_unlearn.plugins.load import default_plugins

mp.dps = 40
STEP = mpf(10) ** -15
VOCABULARY, WIDTH = 5, 3
TOKENS = {
    "forget": [[3, 0, 2], [4, 1]],
    "refusal": [[1, 1], [2, 0, 4]],
    "retain": [[0, 2], [3]],
    "retain_refusal": [[2, 1], [0]],
}
"""By part the answer tokens of two items, of unequal length: means over tokens and over items are not the same."""
SETTINGS = {
    "gamma": 0.7, "alpha": 1.3, "beta": 0.4, "delta": 0.2, "beta1": 2.0, "beta2": 0.5, "eps": 0.3, "dual_init": 2.5,
    "dual_lr": 5.0, "dual_warmup_epochs": 1, "dual_update_upon": "micro_batch", "ignore_first_n_answer_tokens": 1,
    "steering_coeff": 2.0, "unlearn": SimpleNamespace(seed=3),
}  # fmt: skip


# ---------------------------------------------------------------- references, item by item


def softmax(z):
    total = sum(exp(x) for x in z)
    return [exp(x) / total for x in z]


def nlls(rows, tokens):
    return [-log(softmax(z)[y]) for z, y in zip(rows, tokens, strict=True)]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def items(z, part):
    """(logits, tokens) of each item, from all logits of a part."""
    start, found = 0, []
    for tokens in TOKENS[part]:
        found.append((z[start : start + len(tokens)], tokens))
        start += len(tokens)
    return found


def nll(z, part):
    return mean(mean(nlls(*item)) for item in items(z, part))


def logprobs(z, part):
    return [-sum(nlls(*item)) for item in items(z, part)]


def log_sigmoid(x):
    return -log(1 + exp(-x))


def divergence(frozen, rows):
    return mean(
        sum(q * log(q / p) for q, p in zip(softmax(f), softmax(z), strict=True))
        for f, z in zip(frozen, rows, strict=True)
    )


def cross_entropy(target, z):
    return -sum(q * log(p) for q, p in zip(target, softmax(z), strict=True) if q)


def ga(s, z, now, frozen):
    return -nll(z["forget"], "forget")


def graddiff(s, z, now, frozen):
    return -s.gamma * nll(z["forget"], "forget") + s.alpha * nll(z["retain"], "retain")


def kl(s, z, now, frozen):
    pairs = zip(items(frozen["retain"], "retain"), items(z["retain"], "retain"), strict=True)
    near = mean(divergence(f, rows) for (f, _), (rows, _) in pairs)
    return -s.gamma * nll(z["forget"], "forget") + s.alpha * near


def po(s, z, now, frozen):
    return s.gamma * nll(z["refusal"], "refusal") + s.alpha * nll(z["retain"], "retain")


def idk_ap(s, z, now, frozen):
    pairs = zip(logprobs(z["retain"], "retain"), logprobs(z["retain_refusal"], "retain_refusal"), strict=True)
    kept = -mean(log_sigmoid(s.beta * (answer - refusal)) for answer, refusal in pairs) / s.beta
    return s.gamma * nll(z["refusal"], "refusal") + s.alpha * kept


def npo(s, z, now, frozen):
    pairs = zip(logprobs(z["forget"], "forget"), logprobs(frozen["forget"], "forget"), strict=True)
    return -2 * s.gamma / s.beta * mean(log_sigmoid(-s.beta * (a - b)) for a, b in pairs) + s.alpha * nll(
        z["retain"], "retain"
    )


def simnpo(s, z, now, frozen):
    means = [mean(nlls(*item)) for item in items(z["forget"], "forget")]  # -log pi(y) / |y|
    return -2 * s.gamma / s.beta * mean(log_sigmoid(s.beta * m - s.delta) for m in means) + s.alpha * nll(
        z["retain"], "retain"
    )


def dpo(s, z, now, frozen):
    ratios = {
        part: [a - b for a, b in zip(logprobs(z[part], part), logprobs(frozen[part], part), strict=True)]
        for part in ("refusal", "forget")
    }
    wins = zip(ratios["refusal"], ratios["forget"], strict=True)
    return -2 * s.gamma / s.beta * mean(log_sigmoid(s.beta * (a - b)) for a, b in wins) + s.alpha * nll(
        z["retain"], "retain"
    )


def by_token(term):
    """gamma times the mean over items of the mean over tokens, and alpha times the retain NLL; ``now`` is what a
    stopped gradient sees."""

    def loss(s, z, now, frozen):
        rows = zip(*(items(one["forget"], "forget") for one in (z, now, frozen)), strict=True)
        forgotten = mean(
            mean(term(s, *token) for token in zip(a, b, c, tokens, strict=True)) for (a, tokens), (b, _), (c, _) in rows
        )
        return s.gamma * forgotten + s.alpha * nll(z["retain"], "retain")

    return loss


def wga(s, z, now, frozen, y):
    return softmax(now)[y] ** s.beta * log(softmax(z)[y])


def satimp(s, z, now, frozen, y):
    p = softmax(now)[y]
    return p**s.beta1 * (1 - p) ** s.beta2 * log(softmax(z)[y])


def undial(s, z, now, frozen, y):
    return cross_entropy(softmax([x - s.beta * (v == y) for v, x in enumerate(frozen)]), z)


def ceu(s, z, now, frozen):
    """All tokens of an answer but its first."""
    terms = []
    for (rows, tokens), (before, _) in zip(items(z["forget"], "forget"), items(now["forget"], "forget"), strict=True):
        found = []
        for row, past, y in list(zip(rows, before, tokens, strict=True))[1:]:
            rest = sum(exp(x) for v, x in enumerate(past) if v != y)
            found.append(cross_entropy([0 if v == y else exp(x) / rest for v, x in enumerate(past)], row))
        terms.append(mean(found))
    return s.gamma * mean(terms) + s.alpha * nll(z["retain"], "retain")


def pdu(s, z, now, frozen):
    flat = mean(mean((max(row) - mean(row)) ** 2 for row in rows) for rows, _ in items(z["forget"], "forget"))
    return s.gamma * flat + s.dual_init * (nll(z["retain"], "retain") - s.eps)


def rmu(s, z, now, frozen):
    """Here z are the layer's outputs, at the answer tokens."""
    u = torch.rand(WIDTH, generator=torch.Generator().manual_seed(s.unlearn.seed))
    c = [mpf(x) for x in (float(s.steering_coeff) * u / u.norm()).tolist()]

    def distance(rows, towards):
        return mean(mean((h - t) ** 2 for h, t in zip(a, b, strict=True)) for a, b in zip(rows, towards, strict=True))

    moved = mean(distance(rows, [c] * len(rows)) for rows, _ in items(z["forget"], "forget"))
    both = zip(items(z["retain"], "retain"), items(frozen["retain"], "retain"), strict=True)
    return s.gamma * moved + s.alpha * mean(distance(a, b) for (a, _), (b, _) in both)


REFERENCES = {
    "GA": ga, "GradDiff": graddiff, "KL": kl, "PO": po, "IDK+AP": idk_ap, "DPO": dpo, "NPO": npo, "SimNPO": simnpo,
    "WGA": by_token(wga), "SatImp": by_token(satimp), "CEU": ceu, "UNDIAL": by_token(undial), "PDU": pdu, "RMU": rmu,
    "TaskVector": lambda s, z, now, frozen: nll(z["forget"], "forget"),
}  # fmt: skip


# ---------------------------------------------------------------- the comparison


def drawn(part, width, generator):
    return torch.randn(sum(map(len, TOKENS[part])), width, generator=generator, dtype=torch.float64)


def ours(method, hparams, given, frozen, hidden):
    """The method's own loss, on batches padded as the Trainer's are."""
    batch = {}
    for part, values in given.items():
        lengths = [len(tokens) for tokens in TOKENS[part]]
        span = max(lengths)
        labels = torch.full((len(lengths), span + 1), -100)
        logits = torch.zeros(len(lengths), span + 1, VOCABULARY, dtype=torch.float64)
        seen = torch.zeros(len(lengths), span, WIDTH, dtype=torch.float64)
        rows = iter(values)
        for item, tokens in enumerate(TOKENS[part]):
            for place, token in enumerate(tokens):
                labels[item, place + 1] = token
                if hidden:
                    seen[item, place] = next(rows)
                else:
                    logits[item, place] = next(rows)
        kind = dict(method.remembers).get(part)
        reference = frozen[part] if kind else None
        if kind == "logprob":
            reference = torch.tensor([float(x) for x in logprobs(exact(reference), part)], dtype=torch.float64)
        batch[part] = Answers.of(logits, labels, reference, seen if hidden else None)
    return method.start(hparams)(batch)


def exact(values):
    return [[mpf(x) for x in row] for row in values.tolist()]


def test_every_baseline_has_a_reference():
    from easyedit_unlearn.baselines.baseline import Baseline

    assert {method.name for method in default_plugins().methods if isinstance(method, Baseline)} == set(REFERENCES)


@pytest.mark.parametrize("name", REFERENCES)
def test_value_and_gradient_agree_to_ten_digits(name):
    method, hparams = default_plugins().methods.get(name), SimpleNamespace(**SETTINGS)
    precise = SimpleNamespace(**{k: mpf(v) if isinstance(v, float) else v for k, v in SETTINGS.items()})
    generator, hidden = torch.Generator().manual_seed(7), name == "RMU"
    width = WIDTH if hidden else VOCABULARY
    given = {part: drawn(part, width, generator).requires_grad_() for part in method.parts}
    frozen = {part: drawn(part, width, generator) for part in method.parts}
    value = ours(method, hparams, given, frozen, hidden)
    gradients = torch.autograd.grad(value, list(given.values()), allow_unused=True)

    z, past = ({part: exact(one.detach()) for part, one in group.items()} for group in (given, frozen))
    now = {part: [list(row) for row in rows] for part, rows in z.items()}
    assert abs(float(REFERENCES[name](precise, z, now, past) - mpf(value.item()))) < 1e-10
    for (part, rows), gradient in zip(z.items(), gradients, strict=True):
        for row in range(len(rows)):
            for column in range(width):
                at = rows[row][column]
                sides = []
                for sign in (1, -1):
                    rows[row][column] = at + sign * STEP
                    sides.append(REFERENCES[name](precise, z, now, past))
                rows[row][column] = at
                slope = (sides[0] - sides[1]) / (2 * STEP)
                assert abs(float(slope) - gradient[row, column].item()) < 1e-10, (part, row, column)
