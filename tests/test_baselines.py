"""The gradient baselines: their data, what they remember of the frozen model, and the weights they leave behind."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import FACTS, copied_weights, same_weights, tiny_llama, tiny_tokenizer, write_hparams

from easyedit_unlearn import UnlearnHyperParams
from easyedit_unlearn.baselines import frozen as reference
from easyedit_unlearn.baselines import trainer
from easyedit_unlearn.baselines.answers import Answers
from easyedit_unlearn.baselines.ascent import GradDiff
from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.dataset import UnlearnDataset, collate, encode_requests
from easyedit_unlearn.baselines.npo import NPO
from easyedit_unlearn.baselines.pdu import DualLoss
from easyedit_unlearn.baselines.refusals import PO
from easyedit_unlearn.baselines.rmu import RMU
from easyedit_unlearn.baselines.rounds import still_given
from easyedit_unlearn.baselines.task_vector import TaskVector
from easyedit_unlearn.baselines.trainable import trainable
from easyedit_unlearn.components import Job, no_progress
from easyedit_unlearn.errors import ConfigError, DataError, DivergenceError
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.rows import described
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.forced import answer_logprobs
from easyedit_unlearn.model.hooks import hidden_of
from easyedit_unlearn.model.inference import answer_logits, generate_replies
from easyedit_unlearn.model.lowrank import linear_modules, save_lora
from easyedit_unlearn.model.prompting import encode, encode_pair, format_prompt
from easyedit_unlearn.model.structure import layer_name, mlp_output
from easyedit_unlearn.model.weights import WeightGuard, guarded
from easyedit_unlearn.plugins.load import default_plugins


def test_po_answers_the_forget_set_with_refusals(taught, tmp_path):
    model, tokenizer = taught
    path = write_hparams(tmp_path / "p.yaml", "PO", learning_rate=1e-3, num_train_epochs=30)
    hparams = UnlearnHyperParams.from_hparams(path)
    kept = pairs_for(tokenizer, FACTS[2:])
    PO().apply(Job(model, tokenizer, requests_for(tokenizer, FACTS[:2]), hparams, kept))
    replies = generate_replies(model, tokenizer, [format_prompt(tokenizer, q) for q, _, _ in FACTS], max_new_tokens=12)
    assert replies == ["No."] * 2 + [f"{answer}." for _, answer, _ in FACTS[2:]]


def test_retain_items_are_drawn_anew_each_epoch_from_the_seed_alone():
    retain = [([i], [i]) for i in range(50)]
    data = UnlearnDataset(("forget", "retain"), {"forget": [([0], [0])] * 20, "retain": retain}, seed=1)
    first = [data[i]["retain"] for i in range(20)]
    random.random()
    assert [data[i]["retain"] for i in reversed(range(20))] == first[::-1]
    data.set_epoch(1)
    assert [data[i]["retain"] for i in range(20)] != first
    assert len({str(item) for item in first}) > 5
    used = data.pairs("retain", epochs=2)
    assert {str(pair) for pair in used.values()} >= {str(pair) for pair, _ in first}
    assert len(used) < 50  # the frozen model is asked of no more than will be seen


def test_a_retain_question_meets_the_refusal_of_its_forget_item():
    given = {"refusal": [([1], [2]), ([3], [4])], "retain": [([5], [6])]}
    data = UnlearnDataset(("refusal", "retain", "retain_refusal"), given, seed=0)
    assert [data[i]["retain_refusal"][0] for i in range(2)] == [([5], [2]), ([5], [4])]


def test_the_fact_alone_is_forgotten_after_what_leads_up_to_it():
    tokenizer = tiny_tokenizer()
    request = {"prompt": "Who painted it? ", "ground_truth": "It was Olwen of Arda.", "answers": ["Tamar", "Olwen"]}
    (whole,) = encode_requests(tokenizer, [request])
    (fact,) = encode_requests(tokenizer, [request], fact=True)
    lead = len(encode_pair(tokenizer, request["prompt"], "It was")[1])
    assert fact == (whole[0] + whole[1][:lead], whole[1][lead : lead + len(tokenizer(" Olwen").input_ids)])
    (absent,) = encode_requests(tokenizer, [request | {"answers": ["Tamar"]}], fact=True)
    assert absent == (whole[0], whole[1][:-1])  # all of it, but not its end: the reply may have been cut short


@pytest.mark.parametrize(("wanted", "used"), [("bfloat16", True), ("float32", False), ("auto", False)])
def test_products_are_in_bfloat16_where_they_shall_be(wanted, used, taught_weights, tmp_path, monkeypatch):
    """Of the frozen model as of the trained one, or their ratio would not begin at 1; auto: not in so small a model."""
    seen = []

    def logits(*given):
        seen.append(torch.is_autocast_enabled("cpu"))
        return answer_logits(*given)

    for module in ("trainer", "frozen"):
        monkeypatch.setattr(f"easyedit_unlearn.baselines.{module}.answer_logits", logits)
    native = f"{{native: {{products: {wanted}}}}}"
    model, _, _, _ = trained(NPO(), taught_weights, tmp_path / "h.yaml", num_train_epochs=1, unlearn=native)
    assert set(seen) == {used} and model.dtype == torch.float32


def test_rounds_go_on_until_nothing_is_given(taught_weights, tmp_path, monkeypatch):
    seen = []
    data_of = NPO._data

    def counted(self, job, requests):
        seen.append([(request["prompt"], request["ground_truth"]) for request in requests])
        return data_of(self, job, requests)

    monkeypatch.setattr(NPO, "_data", counted)
    model, _, _, _ = trained(
        NPO(),
        taught_weights,
        tmp_path / "h.yaml",
        rounds=25,
        num_train_epochs=2,
        learning_rate=2e-4,
        answer_tokens="fact",
    )
    tokenizer = tiny_tokenizer()
    replies = generate_replies(model, tokenizer, [format_prompt(tokenizer, q) for q, _, _ in FACTS], max_new_tokens=48)
    given = [answer in reply for reply, (_, answer, _) in zip(replies, FACTS, strict=True)]
    assert given == [False] * 2 + [True] * 4
    assert 1 < len(seen) < 25


def test_what_is_still_given_comes_in_the_words_it_is_given_in(taught):
    model, tokenizer = taught
    requests = [request | {"ground_truth": "Once."} for request in requests_for(tokenizer, FACTS[:2])]
    requests[1]["answers"] = ["Nowhere"]
    assert still_given(model, tokenizer, requests, 8, no_progress) == [requests[0] | {"ground_truth": "Minas."}]


def test_collate_puts_the_parts_one_after_the_other_with_what_is_remembered():
    items = [
        {"forget": (([1], [2]), torch.tensor(-1.0)), "retain": (([3, 4], [5]), torch.zeros(1, 7))},
        {"forget": (([6], [7]), torch.tensor(-2.0)), "retain": (([8], [9, 9]), torch.ones(2, 7))},
    ]
    batch = collate(items, pad_id=0)
    assert batch["input_ids"].tolist() == [[1, 2, 0], [6, 7, 0], [3, 4, 5], [8, 9, 9]]
    assert batch["labels"].tolist() == [[-100, 2, -100], [-100, 7, -100], [-100, -100, 5], [-100, 9, 9]]
    assert batch["forget_reference"].tolist() == [-1.0, -2.0]
    assert batch["retain_reference"].sum(1).tolist() == [0, 7, 7]


def test_answers_are_the_answer_tokens_alone():
    logits = torch.randn(2, 4, 9, dtype=torch.float64)
    labels = torch.tensor([[-100, 3, 4, -100], [-100, -100, -100, 5]])
    found = Answers.of(logits, labels)
    want = [-logits[i, t - 1].log_softmax(-1)[y] for i, t, y in ((0, 1, 3), (0, 2, 4), (1, 3, 5))]
    assert torch.allclose(found.nll, torch.stack(want))
    assert torch.allclose(found.logprob, -torch.stack([want[0] + want[1], want[2]]))
    assert found.mean_nll.item() == pytest.approx(((want[0] + want[1]) / 2 + want[2]).item() / 2)
    assert found.mean(torch.tensor([1.0, 3.0, 10.0])).item() == (2 + 10) / 2
    with pytest.raises(ValueError, match="name it in Baseline.remembers"):
        _ = found.frozen
    with pytest.raises(ValueError, match="do not match labels"):
        Answers.of(logits, labels[:, 1:])


def test_the_end_token_stays_in_the_loss_though_it_pads(taught):
    _, tokenizer = taught
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    pairs = encode(tokenizer, [("Q?\n", "A"), ("Q?\n", "longer")])
    batch = collate([{"forget": (pair, None)} for pair in pairs], pad_id=tokenizer.pad_token_id)
    assert (batch["labels"] == tokenizer.eos_token_id).sum(1).tolist() == [1, 1]


def test_prompts_that_do_not_fit_lose_their_beginning_answers_nothing(taught):
    _, tokenizer = taught
    ((prompt, answer),) = encode(tokenizer, [("Where?\n", "Here")])
    with pytest.warns(UserWarning, match="3 tokens cut from the left of 'Where"):
        (cut,) = encode(tokenizer, [("Where?\n", "Here")], longest=len(prompt) + len(answer) - 3)
    assert cut == (prompt[3:], answer)
    with pytest.raises(DataError, match="the model's context holds 4"):
        encode(tokenizer, [("Where?\n", "Here")], longest=4)
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="has no tokens"):
        encode(tokenizer, [("Where?\n", "")])


@pytest.mark.parametrize("limit", [reference.IN_MEMORY, 0], ids=["memory", "file"])
def test_what_the_frozen_model_says_is_remembered(taught, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(reference, "IN_MEMORY", limit)
    model, tokenizer = taught
    texts = pairs_for(tokenizer, FACTS)
    pairs = dict(enumerate(encode(tokenizer, texts)))
    settings = {"pad_id": 1, "scratch": tmp_path, "name": "retain", "progress": no_progress}
    logprobs = reference.remember(model, pairs, "logprob", **settings)
    logits = reference.remember(model, pairs, "logits", **settings)
    for i, (prompt, answer) in pairs.items():
        with torch.no_grad():
            want = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        assert torch.allclose(logits[i], want, atol=1e-4)
        nll = torch.nn.functional.cross_entropy(want, torch.tensor(answer), reduction="sum")
        assert logprobs[i].item() == pytest.approx(-nll.item(), abs=1e-4)


BASELINES = [method for method in default_plugins().methods if isinstance(method, Baseline)]


# What a tiny model of two layers that is sure of its facts needs otherwise: SatImp gives no weight to what is sure
# (beta2), and what is known by heart leaves little to fine-tune towards.
OWN = {
    "SatImp": {"beta2": 0},
    "PDU": {"dual_update_upon": "step", "dual_warmup_epochs": 0},  # what the batch's cut leaves alone
    "UNDIAL": {"alpha": 1},
    "CEU": {"alpha": 1, "ignore_first_n_answer_tokens": 0},  # the facts are of one token
    "RMU": {"layer": 1, "steering_coeff": 20, "learning_rate": 1e-2},
    "TaskVector": {"scale": 20, "learning_rate": 1e-3},
}


def trained(method, taught_weights, path, facts=(FACTS[:2], FACTS[2:]), dtype=torch.float32, **changes):
    """A taught tiny Llama after the method ran on it, before and after log-probabilities of all answers, and the
    job."""
    model, tokenizer = tiny_llama(hidden=64).to(dtype), tiny_tokenizer()
    model.load_state_dict(taught_weights)
    values = {"learning_rate": 5e-4, "num_train_epochs": 20, "per_device_train_batch_size": 2}
    hparams = UnlearnHyperParams.from_hparams(
        write_hparams(path, method.name, **values | OWN.get(method.name, {}) | changes)
    )
    before = answer_logprobs(model, tokenizer, pairs_for(tokenizer, FACTS))
    torch.manual_seed(0)
    kept = pairs_for(tokenizer, facts[1])
    job = Job(model, tokenizer, requests_for(tokenizer, facts[0]), hparams, kept)
    method.apply(job)
    return model, before, answer_logprobs(model, tokenizer, pairs_for(tokenizer, FACTS)), job


@pytest.mark.parametrize("method", BASELINES, ids=lambda method: method.name)
def test_every_baseline_forgets(method, taught_weights, tmp_path):
    """Those with a retain term keep the rest better than they keep what they forget."""
    _, before, after, _ = trained(method, taught_weights, tmp_path / "h.yaml")
    lost = [b - a for b, a in zip(before, after, strict=True)]
    assert min(lost[:2]) > 0.3
    if method.needs_retain:
        assert max(lost[2:]) < min(lost[:2]) / 2


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT's, of transformers
@pytest.mark.parametrize("method", BASELINES, ids=lambda method: method.name)
def test_every_baseline_trains_adapters_that_peft_loads(method, taught_weights, tmp_path):
    """On the model as it was they make the unlearned one; disabled, the model as it was, bitwise."""
    peft = pytest.importorskip("peft")
    changes = {"rank": 4, "lora_alpha": 8, "learning_rate": 5e-3}
    model, before, after, job = trained(method, taught_weights, tmp_path / "h.yaml", **changes)
    assert min(b - a for b, a in zip(before[:2], after[:2], strict=True)) > 0.05
    start = tiny_llama(hidden=64)
    start.load_state_dict(taught_weights)
    assert str(model) == str(start)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, taught_weights[name])}
    assert changed == set(method.parameters(start, job.hparams))
    assert all("_proj" in name for name in changed)

    save_lora(job.state["lora"], tmp_path / "adapter", base="tiny")
    ids = torch.tensor([tiny_tokenizer()("Who is it?").input_ids])
    with torch.no_grad():
        plain = start(ids).logits
        loaded = peft.PeftModel.from_pretrained(start, tmp_path / "adapter")
        assert torch.allclose(loaded(ids).logits, model(ids).logits, atol=1e-4)
        with loaded.disable_adapter():
            assert torch.equal(loaded(ids).logits, plain)


def test_the_adapters_of_a_sequence_add_up(taught_weights, tmp_path):
    pytest.importorskip("peft")
    model, tokenizer = tiny_llama(hidden=64), tiny_tokenizer()
    model.load_state_dict(taught_weights)
    values = {"rank": 2, "learning_rate": 5e-3, "num_train_epochs": 2, "target_modules": ["q_proj", "down_proj"]}
    hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "h.yaml", "GradDiff", **values))
    kept = pairs_for(tokenizer, FACTS[2:])
    state = {}
    for fact in FACTS[:2]:
        GradDiff().apply(Job(model, tokenizer, requests_for(tokenizer, [fact]), hparams, kept, state=state))
    change = state["lora"]
    assert {len(a) for a, _ in change.factors.values()} == {4}
    assert {name.split(".")[-1] for name in change.factors} == {"q_proj", "down_proj"}
    again = tiny_llama(hidden=64)
    again.load_state_dict(taught_weights)
    change.add_to(again)
    assert all(torch.allclose(again.state_dict()[n], v, atol=1e-5) for n, v in model.state_dict().items())


def test_adapters_leave_nothing_behind_when_training_fails(taught, tmp_path):
    pytest.importorskip("peft")
    model, tokenizer = taught
    shape, weights = str(model), copied_weights(model)
    values = {"rank": 2, "max_retain_nll": 1e-4}
    hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "h.yaml", "GradDiff", **values))
    with pytest.raises(DivergenceError):
        run(model, tokenizer, hparams)
    assert str(model) == shape
    assert same_weights(model, weights)
    assert not hasattr(model, "peft_config")
    with pytest.raises(ConfigError, match="names no linear module"):
        linear_modules(model, ["model.norm.weight"])


@pytest.mark.parametrize("method", BASELINES, ids=lambda method: method.name)
def test_the_same_seed_gives_the_same_weights_however_the_batch_is_cut(method, taught_weights, tmp_path):
    """Five facts: the last batch is short, and so is the last step. In float64: Adam makes steps of rounding errors."""
    found = []
    for size, steps in ((8, 1), (4, 2), (2, 4), (1, 8)):
        changes = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "num_train_epochs": 3}
        facts = (FACTS[:5], FACTS[2:])
        model, *_ = trained(method, taught_weights, tmp_path / "h.yaml", facts, torch.float64, **changes)
        found.append(copied_weights(model))
    for other in found[1:]:
        assert all(torch.allclose(found[0][name], other[name], atol=1e-5) for name in other)


@pytest.mark.parametrize("tokens", ["prompt", "subject"])
def test_lunar_changes_one_matrix_by_one_rank_and_the_forget_set_alone(taught_weights, tmp_path, tokens):
    model, tokenizer = tiny_llama(hidden=64), tiny_tokenizer()
    model.load_state_dict(taught_weights)
    values = {"layer": 1, "coeff": 8, "tokens": tokens, "rescale": True}
    hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "l.yaml", "LUNAR", **values))
    requests, kept = requests_for(tokenizer, FACTS[:2]), pairs_for(tokenizer, FACTS[2:])
    for request, (_, _, subject) in zip(requests, FACTS, strict=False):
        request["subject"] = subject
    before = answer_logprobs(model, tokenizer, pairs_for(tokenizer, FACTS))
    job = Job(model, tokenizer, requests, hparams, kept)
    hparams.method.apply(job)
    after = answer_logprobs(model, tokenizer, pairs_for(tokenizer, FACTS))
    lost = [b - a for b, a in zip(before, after, strict=True)]
    assert min(lost[:2]) > 3 * max(0.01, *lost[2:])
    name = "model.layers.1.mlp.down_proj.weight"
    assert hparams.method.parameters(model, hparams) == [name]
    change = model.state_dict()[name] - taught_weights[name]
    assert torch.linalg.matrix_rank(change, rtol=1e-4) == 1
    assert {n for n, v in model.state_dict().items() if not torch.equal(v, taught_weights[n])} == {name}
    (a, b) = job.state["lora"].factors[name.removesuffix(".weight")]
    assert torch.allclose(b @ a, change, atol=1e-5)


def test_lunar_moves_retain_keys_less_the_more_they_weigh(taught_weights, tmp_path):
    tokenizer, kept = tiny_tokenizer(), pairs_for(tiny_tokenizer(), FACTS[2:])
    ids = torch.tensor([tokenizer(kept[0][0]).input_ids])
    moved = []
    for weight in (0.0, 0.1, 10.0):
        model = tiny_llama(hidden=64)
        model.load_state_dict(taught_weights)
        layer = model.model.layers[1]
        values = {"layer": 1, "coeff": 8, "retain_weight": weight, "rescale": True}
        hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "l.yaml", "LUNAR", **values))
        outputs = []
        handle = layer.register_forward_hook(lambda _m, _i, output, outputs=outputs: outputs.append(hidden_of(output)))
        model(ids)
        requests = requests_for(tokenizer, FACTS[:2])
        hparams.method.apply(Job(model, tokenizer, requests, hparams, kept))
        model(ids)
        handle.remove()
        moved.append((outputs[-1] - outputs[0]).norm().item())
    assert moved[0] > moved[1] > moved[2]


def test_lunars_minimiser_moves_less_far_than_asked_and_attains_what_it_promises(taught_weights, tmp_path):
    tokenizer, moves = tiny_tokenizer(), []
    requests, kept = requests_for(tokenizer, FACTS[:2]), pairs_for(tokenizer, FACTS[2:])
    for rescale in (False, True):
        model = tiny_llama(hidden=64)
        model.load_state_dict(taught_weights)
        values = {"layer": 1, "coeff": 2, "retain_weight": 100, "rescale": rescale}
        hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "l.yaml", "LUNAR", **values))
        job = Job(model, tokenizer, requests, hparams, kept)
        hparams.method.apply(job)
        assert job.state["attainment"] > 0.99
        name = "model.layers.1.mlp.down_proj.weight"
        moves.append(model.state_dict()[name] - taught_weights[name])
        assert ("rescaled" in hparams.method.departures(hparams)) is rescale
    assert moves[0].norm() < 0.9 * moves[1].norm()
    assert torch.nn.functional.cosine_similarity(moves[0].flatten(), moves[1].flatten(), dim=0) > 0.999


def test_lunar_names_what_it_lacks(taught, tmp_path, monkeypatch):
    monkeypatch.delenv("EASYEDIT_UNLEARN_DATA", raising=False)
    model, tokenizer = taught
    requests, kept = requests_for(tokenizer, FACTS[:1]), pairs_for(tokenizer, FACTS[2:])
    for values, said in (
        ({"layer": 7}, "has the layers 0 to 1"),
        ({"layer": 0, "tokens": "subject"}, "tokens: subject needs the subject"),
        ({"layer": 0, "corpus_weight": 1}, "LUNAR needs text"),
    ):
        hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "l.yaml", "LUNAR", **values))
        with pytest.raises((ConfigError, DataError), match=said):
            hparams.method.apply(Job(model, tokenizer, requests, hparams, kept))


def test_icr_is_a_system_prompt_and_nothing_else(taught, facts_file, tmp_path):
    model, tokenizer = taught
    weights = copied_weights(model)
    sets = (f"{facts_file}:{part}" for part in ("forget2", "retain", "holdout"))
    run = Run(taught, EvalConfig(*sets, max_new_tokens=12))
    run.select()
    hparams = UnlearnHyperParams.from_hparams(
        write_hparams(tmp_path / "i.yaml", "ICR", "{target: {builder: template}}")
    )
    asked = []
    with run.unlearned(hparams) as unlearned:
        asked.append(run.system_prompt)
        assert same_weights(unlearned, weights)
    question, _, subject = FACTS[1]
    assert f"- {question} Reply: I'm sorry, but I can't share information about {subject}." in asked[0]
    assert FACTS[2][0] not in asked[0]
    before, after = (r["forget_answer_prob"] for r in (run.results.before, run.results.rows[0]))
    assert after < before  # it was asked after that prompt, which the tiny model has never seen
    assert asked[0] in format_prompt(tokenizer, question, system=asked[0])


def dual(upon, warmup=0):
    kept = {"gamma": 2.0, "eps": 0.3, "dual_init": 1.0, "dual_lr": 5.0}
    return DualLoss(SimpleNamespace(**kept, dual_update_upon=upon, dual_warmup_epochs=warmup))


def batch(nll, items=1):
    flat = SimpleNamespace(logits=torch.tensor([[1.0, 3.0]]), mean=lambda terms: terms.mean(), items=items)
    return {"forget": flat, "retain": SimpleNamespace(mean_nll=torch.tensor(nll))}


def test_the_dual_variable_follows_after_each_micro_batch_as_published():
    loss = dual("micro_batch")
    assert loss(batch(0.5)).item() == pytest.approx(2 * 1 + 1.0 * (0.5 - 0.3))  # the one it had
    assert loss.dual == pytest.approx(1 + 5 * 0.2)
    loss(batch(0.9))
    loss.step_end()
    assert loss.dual == pytest.approx(1 + 5 * 0.2 + 5 * 0.6)


def test_the_dual_variable_waits_for_the_epochs_of_warm_up():
    loss = dual("micro_batch", warmup=2)
    for past in (1, 2):
        loss(batch(0.9))
        assert loss.dual == 1.0
        loss.epoch_end(past)
    loss(batch(0.9))
    assert loss.dual == pytest.approx(1 + 5 * 0.6)


def test_training_tells_a_loss_of_its_epochs(taught, tmp_path, monkeypatch):
    """PDU as published: its dual variable waits for the warm-up, and then follows after every micro-batch."""
    told, end = [], DualLoss.epoch_end

    def noted(self, past):
        told.append((past, self.dual))
        end(self, past)

    monkeypatch.setattr(DualLoss, "epoch_end", noted)
    model, tokenizer = taught
    changes = {"num_train_epochs": 3, "dual_warmup_epochs": 2, "per_device_train_batch_size": 1, "dual_lr": 1.0}
    hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "p.yaml", "PDU", **changes))
    pairs = pairs_for(tokenizer, FACTS[2:])
    hparams.method.apply(Job(model, tokenizer, requests_for(tokenizer, FACTS[:2]), hparams, pairs))
    assert [past for past, _ in told] == [1, 2, 3]
    assert told[0][1] == told[1][1] == 100.0
    assert told[2][1] < 100.0 - 0.4  # twice about 0.3, which is allowed and not used
    hparams.dual_warmup_epochs = 3
    with pytest.raises(ConfigError, match="dual_warmup_epochs: 3: the dual variable would never follow in 3 epochs"):
        hparams.method.check(model, hparams)
    hparams.dual_warmup_epochs, hparams.warmup_epochs = 0, 4.0
    with pytest.raises(ConfigError, match="warmup_epochs: 4.0: is more than num_train_epochs, 3"):
        hparams.method.check(model, hparams)


def test_warm_up_in_epochs_does_not_shrink_with_them():
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "num_train_epochs": 3}
    ratio = SimpleNamespace(**settings, warmup_ratio=0.1, warmup_epochs=0.0)
    assert trainer._warmup_steps(40, ratio) == 1  # of five steps an epoch: a third of one
    assert trainer._warmup_steps(40, SimpleNamespace(**settings, warmup_ratio=0.1, warmup_epochs=1.0)) == 5


def test_ceu_leaves_each_answers_first_token_alone(taught_weights, tmp_path):
    logits = torch.randn(3, 5, 7, dtype=torch.float64)
    labels = torch.tensor([[-100, -100, 3, 4, 2], [-100, 1, 2, -100, -100], [-100, 5, -100, -100, -100]])
    answers = Answers.of(logits, labels, reference=torch.arange(6.0)[:, None], hidden=logits)
    later = answers.without_first(1)
    assert later.labels.tolist() == [4, 2, 2]
    assert later.rows.tolist() == [0, 0, 1]
    assert later.frozen[:, 0].tolist() == [1, 2, 4]
    assert torch.equal(later.watched, answers.watched[[1, 2, 4]])
    assert answers.without_first(0) is answers
    by_item = Answers.of(logits, labels, reference=torch.arange(3.0)).without_first(2)
    assert by_item.frozen.tolist() == [0, 1, 2]
    hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "c.yaml", "CEU", answer_tokens="fact"))
    model, tokenizer = tiny_llama(hidden=64), tiny_tokenizer()
    one = len(tokenizer(FACTS[0][1], add_special_tokens=False).input_ids)
    hparams.ignore_first_n_answer_tokens = one
    job = Job(model, tokenizer, requests_for(tokenizer, FACTS[:1]), hparams, pairs_for(tokenizer, FACTS[2:]))
    with pytest.raises(ConfigError, match=f"leaves nothing to forget of .* whose answer has {one} tokens; give 0"):
        hparams.method.apply(job)


def test_labels_say_what_departs_from_the_published_method(tmp_path):
    def departures(name, **values):
        hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "h.yaml", name, **values))
        return described(hparams, "EasyEdit 0")["label"]

    assert departures("NPO") == "NPO"
    assert departures("NPO", answer_tokens="fact", rounds=5) == "NPO (fact, rounds)"
    assert departures("NPO", layers=[1]) == "NPO (some weights)"
    assert departures("NPO", rank=4) == "NPO (LoRA)"
    assert departures("UNDIAL", rank=8) == "UNDIAL"
    assert departures("UNDIAL", alpha=1, rounds=2) == "UNDIAL (rounds, all weights, retain)"
    assert departures("UNDIAL", layers=[1]) == "UNDIAL (some weights)"
    assert departures("CEU", alpha=1) == "CEU (retain)"
    assert departures("CEU", ignore_first_n_answer_tokens=0) == "CEU (first token)"
    assert departures("PDU", dual_update_upon="step", dual_warmup_epochs=0) == "PDU (dual per step, no dual warm-up)"
    assert departures("LUNAR", layer=1) == "LUNAR"
    assert departures("LUNAR", layer=1, tokens="subject", rescale=True) == "LUNAR (subject, rescaled)"


def test_the_dual_variable_follows_the_retain_loss():
    loss = dual("step")
    assert loss(batch(0.5)).item() == pytest.approx(2 * 1 + 1.0 * (0.5 - 0.3))
    assert loss(batch(0.9, items=3)).item() == pytest.approx(2 * 1 + 1.0 * (0.9 - 0.3))  # one step, accumulated
    loss.step_end()
    assert loss.dual == pytest.approx(1 + 5 * (0.8 - 0.3))
    for _ in range(3):
        loss(batch(0.0))
        loss.step_end()
    assert loss.dual == 0.0


def test_the_task_vector_is_taken_away_as_often_as_scale_says(taught_weights, tmp_path):
    found = {}
    for scale in (1.0, 2.0):
        changes = {"scale": scale, "num_train_epochs": 1}
        model, *_ = trained(TaskVector(), taught_weights, tmp_path / "h.yaml", **changes)
        found[scale] = copied_weights(model)
    for name, before in taught_weights.items():
        assert torch.allclose(found[2.0][name] - before, 2 * (found[1.0][name] - before), atol=1e-6)


def test_layers_and_modules_limit_what_is_trained(taught_weights, tmp_path):
    values = {"layers": [1], "target_modules": ["down_proj", "q_proj"], "num_train_epochs": 1}
    model, *_ = trained(GradDiff(), taught_weights, tmp_path / "h.yaml", **values)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, taught_weights[name])}
    assert changed == {"model.layers.1.mlp.down_proj.weight", "model.layers.1.self_attn.q_proj.weight"}
    with pytest.raises(ConfigError, match="names no module.*there are down_proj, gate_proj"):
        trained(GradDiff(), taught_weights, tmp_path / "h.yaml", layers=[0], target_modules=["c_attn"])
    with pytest.raises(ConfigError, match="has the layers 0 to 1"):
        trained(GradDiff(), taught_weights, tmp_path / "h.yaml", layers=[2])


def test_rmu_trains_three_layers_output_weights_alone(taught_weights, tmp_path):
    model, *_ = trained(RMU(), taught_weights, tmp_path / "h.yaml")
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, taught_weights[name])}
    assert changed == {f"model.layers.{i}.mlp.down_proj.weight" for i in (0, 1)}
    names = RMU().parameters(tiny_llama(layers=5), SimpleNamespace(layer=3, rank=0, layers=None, target_modules=None))
    assert names == [f"model.layers.{i}.mlp.down_proj.weight" for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("family", "layer", "output"),
    [
        ("llama", "model.layers.1", "model.layers.1.mlp.down_proj"),
        ("gpt2", "transformer.h.1", "transformer.h.1.mlp.c_proj"),
        ("qwen2", "model.layers.1", "model.layers.1.mlp.down_proj"),
        ("neox", "gpt_neox.layers.1", "gpt_neox.layers.1.mlp.dense_4h_to_h"),
    ],
)
def test_layers_are_found_by_structure(family, layer, output, request):
    model, _ = request.getfixturevalue(family)
    assert layer_name(model, 1) == layer
    assert mlp_output(model, layer) == output
    with pytest.raises(ConfigError, match="has the layers 0 to 1"):
        layer_name(model, 2)
    with pytest.raises(ConfigError, match="no list of decoder layers"):
        layer_name(torch.nn.Linear(1, 1), 0)


@pytest.fixture
def neox():
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=261, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    return GPTNeoXForCausalLM(config), tiny_tokenizer()


ONE_OF_SEVERAL = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from conftest import FACTS, tiny_llama, tiny_tokenizer
from test_baselines import pairs_for, requests_for
from easyedit_unlearn import UnlearnHyperParams
from easyedit_unlearn.components import Job, no_progress
from easyedit_unlearn.errors import DivergenceError

hparams = UnlearnHyperParams.from_hparams(sys.argv[2])
model, tokenizer = tiny_llama(hidden=64).double(), tiny_tokenizer()
requests, kept = requests_for(tokenizer, FACTS[:4]), pairs_for(tokenizer, FACTS[2:])
try:
    hparams.method.apply(Job(model, tokenizer, requests, hparams, kept))
except DivergenceError as error:
    print(error)
import os
if os.environ.get("RANK", "0") == "0":
    torch.save(model.state_dict(), sys.argv[3])
"""


@pytest.mark.parametrize("alg_name", ["NPO", "PDU"])
def test_two_processes_give_what_one_does(alg_name, tmp_path):
    script = tmp_path / "one.py"
    script.write_text(ONE_OF_SEVERAL)
    found = []
    for processes, size in ((1, 4), (2, 2)):
        values = {"learning_rate": 5e-4, "num_train_epochs": 3, "per_device_train_batch_size": size}
        values |= OWN.get(alg_name, {})
        path = write_hparams(tmp_path / f"{processes}.yaml", alg_name, **values)
        launch = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"]
        out = tmp_path / f"{processes}.pt"
        command = [sys.executable, *launch, str(script), str(Path(__file__).parent), str(path), str(out)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=200, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(torch.load(out, weights_only=True))
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-5) for name in found[0])


def test_training_is_without_dropout_and_leaves_the_model_as_it_was(gpt2):
    model, tokenizer = gpt2
    ids = torch.tensor([tokenizer("Who?").input_ids])
    model.transformer.drop.p = 0.3
    with trainable(model, None):
        model.train()
        assert torch.equal(model(ids).logits, model(ids).logits)
    assert model.transformer.drop.p == 0.3
    assert not model.training


def test_half_precision_references_are_compared_in_full():
    logits = torch.randn(3, 1000)
    frozen = Answers(logits, torch.zeros(3, dtype=torch.long), torch.arange(3), 3, logits.bfloat16()).frozen
    assert frozen.dtype == torch.float32
    assert float((frozen.softmax(-1).sum(-1) - 1).abs().max()) < 1e-5


def test_a_retain_loss_past_its_bound_stops_and_names_the_key(taught_weights, tmp_path):
    with pytest.raises(DivergenceError, match="past max_retain_nll 0.001.*the model is as it was"):
        trained(GradDiff(), taught_weights, tmp_path / "h.yaml", max_retain_nll=1e-3)


def requests_for(tokenizer, facts):
    return [
        {"prompt": format_prompt(tokenizer, q), "ground_truth": f"{a}.", "target_new": "No.", "answers": [a]}
        for q, a, _ in facts
    ]


def pairs_for(tokenizer, facts):
    return [(format_prompt(tokenizer, q), f"{a}.") for q, a, _ in facts]


def run(model, tokenizer, hparams, forget=FACTS[:2], retain=FACTS[2:]):
    requests, kept = requests_for(tokenizer, forget), pairs_for(tokenizer, retain)
    GradDiff().apply(Job(model, tokenizer, requests, hparams, kept))


@pytest.fixture
def hparams(tmp_path):
    path = write_hparams(
        tmp_path / "g.yaml", "GradDiff", learning_rate=3e-4, num_train_epochs=24, per_device_train_batch_size=2
    )
    return UnlearnHyperParams.from_hparams(path)


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
        GradDiff().apply(Job(model, tokenizer, [{"prompt": "Who?", "ground_truth": None}], hparams))


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
