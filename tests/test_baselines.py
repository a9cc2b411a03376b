"""GradDiff and PO: the loss in closed form, its data, and the weights it may and may not leave behind."""

from __future__ import annotations

import math
import random

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import FACTS, copied_weights, same_weights, tiny_llama, tiny_tokenizer, write_hparams  # noqa: E402

from easyedit_unlearn import UnlearnHyperParams  # noqa: E402
from easyedit_unlearn.baselines.data import ForgetRetainDataset, collate  # noqa: E402
from easyedit_unlearn.baselines.graddiff import GradDiff  # noqa: E402
from easyedit_unlearn.baselines.losses import graddiff, mean_nll, preference  # noqa: E402
from easyedit_unlearn.baselines.po import PO  # noqa: E402
from easyedit_unlearn.components import no_progress  # noqa: E402
from easyedit_unlearn.errors import ConfigError, DataError, DivergenceError  # noqa: E402
from easyedit_unlearn.evaluation.inference import answer_logprobs, generate_replies  # noqa: E402
from easyedit_unlearn.prompting import format_prompt  # noqa: E402
from easyedit_unlearn.weights import WeightGuard, guarded  # noqa: E402


def test_mean_nll_weighs_items_not_tokens():
    total = torch.tensor([6.0, 1.0, 0.0], dtype=torch.float64)
    assert mean_nll(total, torch.tensor([3, 1, 0])).item() == pytest.approx((6 / 3 + 1 / 1 + 0) / 3)
    with pytest.raises(ValueError, match="must have one shape"):
        mean_nll(total, torch.tensor([1]))


def test_the_loss_and_its_gradient_in_closed_form():
    z = torch.tensor([0.3, -1.2], dtype=torch.float64, requires_grad=True)
    forget, retain = -torch.log_softmax(z, 0)[0], -torch.log_softmax(z, 0)[1]
    loss = graddiff(forget, retain, gamma=2.0, alpha=0.5)
    p = math.exp(0.3) / (math.exp(0.3) + math.exp(-1.2))
    assert loss.item() == pytest.approx(2 * math.log(p) - 0.5 * math.log(1 - p))
    loss.backward()
    # d(-log p_0)/dz_0 = p_0 - 1 and d(-log p_1)/dz_0 = p_0
    assert z.grad[0].item() == pytest.approx(-2 * (p - 1) + 0.5 * p)


def test_preference_optimisation_in_closed_form():
    z = torch.tensor([0.3, -1.2], dtype=torch.float64, requires_grad=True)
    refused, kept = -torch.log_softmax(z, 0)[0], -torch.log_softmax(z, 0)[1]
    loss = preference(refused, kept, gamma=2.0, alpha=0.5)
    p = math.exp(0.3) / (math.exp(0.3) + math.exp(-1.2))
    assert loss.item() == pytest.approx(-2 * math.log(p) - 0.5 * math.log(1 - p))
    loss.backward()
    assert z.grad[0].item() == pytest.approx(2 * (p - 1) + 0.5 * p)


def test_po_answers_the_forget_set_with_refusals(taught, tmp_path):
    model, tokenizer = taught
    path = write_hparams(tmp_path / "p.yaml", "PO", learning_rate=1e-3, num_train_epochs=30)
    hparams = UnlearnHyperParams.from_hparams(path)
    kept = pairs_for(tokenizer, FACTS[2:])
    PO().apply(model, tokenizer, requests_for(tokenizer, FACTS[:2]), hparams, retain=kept, stage=no_progress)
    replies = generate_replies(model, tokenizer, [format_prompt(tokenizer, q) for q, _, _ in FACTS], max_new_tokens=12)
    assert replies == ["No."] * 2 + [f"{answer}." for _, answer, _ in FACTS[2:]]


def test_retain_items_are_drawn_anew_each_epoch_from_the_seed_alone():
    retain = [([i], [i]) for i in range(50)]
    data = ForgetRetainDataset([([0], [0])] * 20, retain, seed=1)
    first = [data[i]["retain"] for i in range(20)]
    random.random()
    assert [data[i]["retain"] for i in reversed(range(20))] == first[::-1]
    data.set_epoch(1)
    assert [data[i]["retain"] for i in range(20)] != first
    assert len({str(item) for item in first}) > 5


def test_collate_puts_forget_rows_first():
    items = [{"forget": ([1], [2]), "retain": ([3, 4], [5])}, {"forget": ([6], [7]), "retain": ([8], [9])}]
    batch = collate(items, pad_id=0)
    assert batch["input_ids"].tolist() == [[1, 2, 0], [6, 7, 0], [3, 4, 5], [8, 9, 0]]
    assert batch["labels"].tolist() == [[-100, 2, -100], [-100, 7, -100], [-100, -100, 5], [-100, 9, -100]]


def requests_for(tokenizer, facts):
    return [{"prompt": format_prompt(tokenizer, q), "ground_truth": f"{a}.", "target_new": "No."} for q, a, _ in facts]


def pairs_for(tokenizer, facts):
    return [(format_prompt(tokenizer, q), f"{a}.") for q, a, _ in facts]


def run(model, tokenizer, hparams, forget=FACTS[:2], retain=FACTS[2:]):
    requests, kept = requests_for(tokenizer, forget), pairs_for(tokenizer, retain)
    GradDiff().apply(model, tokenizer, requests, hparams, retain=kept, stage=no_progress)


@pytest.fixture
def hparams(tmp_path):
    path = write_hparams(
        tmp_path / "g.yaml", "GradDiff", learning_rate=3e-4, num_train_epochs=24, per_device_train_batch_size=2
    )
    return UnlearnHyperParams.from_hparams(path)


def test_it_forgets_and_retains(taught, hparams):
    model, tokenizer = taught
    before = answer_logprobs(model, tokenizer, pairs_for(tokenizer, FACTS))
    run(model, tokenizer, hparams)
    after = answer_logprobs(model, tokenizer, pairs_for(tokenizer, FACTS))
    assert all(b - a > 0.5 for b, a in zip(before[:2], after[:2], strict=True))
    assert all(a > -0.5 for a in after[2:])


def test_the_same_seed_gives_the_same_weights_however_the_batch_is_cut(taught_weights, hparams):
    found = []
    for size, steps in ((4, 1), (2, 2), (1, 4)):
        model, tokenizer = tiny_llama(hidden=64), tiny_tokenizer()
        model.load_state_dict(taught_weights)
        hparams.per_device_train_batch_size, hparams.gradient_accumulation_steps = size, steps
        hparams.num_train_epochs = 1
        torch.manual_seed(0)
        run(model, tokenizer, hparams, FACTS[:4], FACTS[4:])
        found.append(copied_weights(model))
    for other in found[1:]:
        assert all(torch.allclose(found[0][name], other[name], atol=1e-5) for name in other)


def test_checkpointing_changes_memory_not_results(taught_weights, hparams):
    found = []
    for checkpointing in (False, True):
        model, tokenizer = tiny_llama(hidden=64), tiny_tokenizer()
        model.load_state_dict(taught_weights)
        hparams.gradient_checkpointing = checkpointing
        torch.manual_seed(0)
        run(model, tokenizer, hparams)
        assert not any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
        assert model.config.use_cache is True
        found.append(copied_weights(model))
    assert all(torch.allclose(found[0][n], found[1][n], atol=1e-6) for n in found[0])


def test_a_request_must_say_what_to_forget(llama, hparams):
    model, tokenizer = llama
    with pytest.raises(DataError, match="pass ground_truth"):
        GradDiff().apply(
            model, tokenizer, [{"prompt": "Who?", "ground_truth": None}], hparams, retain=[], stage=no_progress
        )


def test_a_loss_that_is_not_finite_says_so(taught, hparams):
    model, tokenizer = taught
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(DivergenceError, match="Lower learning_rate"):
        run(model, tokenizer, hparams)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_guard_restores_weights_and_flags_on_any_failure(llama, error):
    model, _ = llama
    weights, names = copied_weights(model), [name for name, _ in model.named_parameters()]
    model.lm_head.weight.requires_grad_(False)
    with pytest.raises(error), guarded(model, names):
        for parameter in model.parameters():
            parameter.requires_grad_(True)
            parameter.data.add_(1)
        model.train()
        raise error
    assert same_weights(model, weights)
    assert not model.lm_head.weight.requires_grad
    assert model.model.norm.weight.requires_grad
    assert not model.training


def test_the_guard_puts_back_wrapped_modules_gradients_and_modes(llama):
    model, _ = llama
    inner, norm = model.model.layers[0].mlp.down_proj, model.model.norm
    norm.weight.grad = torch.ones_like(norm.weight)
    model.model.layers[1].train()
    with pytest.raises(RuntimeError), guarded(model):
        model.model.layers[0].mlp.down_proj = torch.nn.Sequential(inner)
        norm.weight.grad = None
        model.train()
        raise RuntimeError
    assert model.model.layers[0].mlp.down_proj is inner
    assert norm.weight.grad.sum() == norm.weight.numel()
    assert model.model.layers[1].training
    assert not model.model.layers[0].training


def test_the_guard_refuses_unknown_names_and_numbers_that_are_not_finite(llama):
    model, _ = llama
    guard = WeightGuard(model)
    with pytest.raises(ConfigError, match="has no parameter 'model.layers.9.x'.*for another model"):
        guard.keep(["model.layers.9.x"])
    guard.keep(["model.norm.weight"])
    guard.check_finite()
    model.model.norm.weight.data[0] = float("inf")
    with pytest.raises(DivergenceError, match="not finite in model.norm.weight"):
        guard.check_finite()


def test_the_guard_keeps_one_copy_of_what_has_not_changed(llama):
    model, _ = llama
    guard, name = WeightGuard(model), "model.norm.weight"
    first = guard.keep([name])[name]
    assert guard.keep([name])[name] is first
    model.model.norm.weight.data.mul_(2)
    assert guard.keep([name])[name] is not first
    guard.restore()
    assert torch.equal(model.model.norm.weight, first)
