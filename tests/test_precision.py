"""Training in half precision does what training in float32 does, rounded once; and says before when it cannot fit."""

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import FACTS, tiny_llama, tiny_tokenizer, write_hparams
from torch import nn

from easyedit_unlearn import UnlearnHyperParams
from easyedit_unlearn.baselines import precision
from easyedit_unlearn.baselines.precision import in_float32, training_bytes
from easyedit_unlearn.baselines.refusals import PO
from easyedit_unlearn.components import Job
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.experiment.finetune import FinetuneSettings, finetune
from easyedit_unlearn.experiment.resolve import for_model
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.plugins.load import default_plugins


def steps(dtype, wrap, count=100):
    weight = nn.Parameter(torch.linspace(-0.05, 0.05, 64).to(dtype))
    optimiser = wrap(torch.optim.AdamW([weight], lr=1e-5, weight_decay=0.0))
    for _ in range(count):
        optimiser.zero_grad()
        (weight.float() * torch.linspace(1, 2, 64)).sum().backward()
        optimiser.step()
    return weight.detach()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_steps_are_not_lost_to_rounding(dtype):
    start = torch.linspace(-0.05, 0.05, 64).to(dtype)
    full = nn.Parameter(start.float())
    optimiser = torch.optim.AdamW([full], lr=1e-5, weight_decay=0.0)
    for _ in range(100):
        full.grad = torch.linspace(1, 2, 64).to(dtype).float()
        optimiser.step()
    assert torch.equal(steps(dtype, in_float32), full.detach().to(dtype))
    if dtype == torch.bfloat16:  # what happened without: half of the weights never moved
        assert (steps(dtype, lambda one: one) == start).float().mean() > 0.5


def test_float32_is_left_alone():
    weight = nn.Parameter(torch.ones(3))
    optimiser = in_float32(torch.optim.AdamW([weight], lr=1e-3))
    assert optimiser.param_groups[0]["params"][0] is weight


@pytest.mark.filterwarnings("default")
def test_a_baseline_moves_a_model_in_bfloat16_as_one_in_float32(taught_weights, tmp_path):
    tokenizer, moved = tiny_tokenizer(), {}
    hparams = UnlearnHyperParams.from_hparams(
        write_hparams(tmp_path / "h.yaml", "PO", learning_rate=2e-5, num_train_epochs=300, warmup_ratio=0.0)
    )
    requests = [
        {"prompt": format_prompt(tokenizer, q), "ground_truth": f"{a}.", "target_new": "No.", "answers": [a]}
        for q, a, _ in FACTS[:2]
    ]
    retain = [(format_prompt(tokenizer, q), f"{a}.") for q, a, _ in FACTS[2:]]
    rounded = {name: value.bfloat16() for name, value in taught_weights.items()}
    for dtype in (torch.float32, torch.bfloat16):
        model = tiny_llama(hidden=64).to(dtype)
        model.load_state_dict({name: value.to(dtype) for name, value in rounded.items()})
        PO().apply(Job(model, tokenizer, requests, hparams, retain))
        after = model.state_dict()
        moved[dtype] = torch.cat([(after[name].float() - rounded[name].float()).flatten() for name in rounded])
    one, other = moved[torch.float32], moved[torch.bfloat16]
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.6
    assert 0.6 < other.norm() / one.norm() < 1.7


def test_what_does_not_fit_is_said_before_any_work(tmp_path, monkeypatch):
    half, full = (nn.Parameter(torch.zeros(10, dtype=dtype)) for dtype in (torch.bfloat16, torch.float32))
    assert (training_bytes([half]), training_bytes([full])) == (10 * (2 + 16), 10 * 12)
    monkeypatch.setattr(precision, "free_memory", lambda _model: 10**6)
    pair = tiny_llama(hidden=64), tiny_tokenizer()
    with pytest.raises(UnlearnError, match="NPO: training these weights takes .* GB beside the model.*rank: 8"):
        for_model(str(write_hparams(tmp_path / "h.yaml", "NPO")), pair, default_plugins())
    for_model(str(write_hparams(tmp_path / "h.yaml", "NPO", rank=2)), pair, default_plugins())  # adapters are small
    for_model(
        str(write_hparams(tmp_path / "h.yaml", "NPO", layers=[1], target_modules=["o_proj"])), pair, default_plugins()
    )
    with pytest.raises(UnlearnError, match="fine-tuning: .* take a smaller model"):
        finetune(pair, [], FinetuneSettings())
