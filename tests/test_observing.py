"""The shared pass: continuations, gradients, and what is remembered of an untouched model."""

from __future__ import annotations

import math
from statistics import fmean

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import copied_weights, same_weights

from easyedit_unlearn import caches
from easyedit_unlearn.components import no_progress
from easyedit_unlearn.evaluation import scoring as module
from easyedit_unlearn.evaluation.continuations import continuations, halves
from easyedit_unlearn.evaluation.gradients import gradient_norms
from easyedit_unlearn.evaluation.metrics import Formula
from easyedit_unlearn.evaluation.observe import GenerationConfig
from easyedit_unlearn.evaluation.scoring import evaluate
from easyedit_unlearn.evaluation.stored import Stored
from easyedit_unlearn.model.forced import answer_tokens
from easyedit_unlearn.model.inference import generate_replies
from easyedit_unlearn.model.processes import Process, _here
from easyedit_unlearn.model.prompting import encode_pair, format_prompt, reply_end
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.types import ForgetSample, Selection

METRICS = [
    metric for metric in default_plugins().metrics if isinstance(metric, Formula) or metric.name == "answer_prob"
]
LONG = "one two three four five six seven eight nine"
SAMPLES = [
    ForgetSample("1", "Who counts?", LONG, rephrases=("Who is it that counts?",), extras={"perturbed_answer": ["x"]}),
    ForgetSample("2", "Who does not?", "nobody"),
]
SELECTION = Selection(SAMPLES[:1], (), SAMPLES[1:], frozenset(s.key for s in SAMPLES))


def test_an_answer_is_continued_from_its_middle(llama):
    model, tokenizer = llama
    assert halves("one two three") is None
    assert halves(LONG) == ("one two three four", "five six seven eight nine")
    found = continuations(model, tokenizer, [("Who counts?", LONG), ("Who?", "nobody")], no_progress)
    (one,) = found.values()
    assert one.wanted == "five six seven eight nine"
    length = len(tokenizer(" five six seven eight nine").input_ids)
    (said,) = generate_replies(model, tokenizer, ["Who counts? one two three four"], max_new_tokens=length)
    assert one.said == tokenizer.decode(tokenizer(f" {said}").input_ids[:length]).strip()


def test_gradient_norms_are_those_of_float64_and_leave_the_model_alone(llama):
    model, tokenizer = llama
    frozen = model.model.embed_tokens.weight.requires_grad_(False)
    weights = copied_weights(model)
    pairs = [("Who counts?", "one two"), ("Who?", ""), ("Who does not?", "nobody")]
    found = gradient_norms(model, tokenizer, pairs, no_progress)
    assert found[1] is None
    assert same_weights(model, weights)
    assert not frozen.requires_grad and all(p.grad is None for p in model.parameters())
    exact = model.double().requires_grad_()
    for (prompt, answer), norm in zip(pairs, found, strict=True):
        before, said = encode_pair(tokenizer, prompt, answer)
        if said:
            logits = exact(input_ids=torch.tensor([before + said])).logits[0, len(before) - 1 : -1]
            exact.zero_grad()
            torch.nn.functional.cross_entropy(logits, torch.tensor(said)).backward()
            assert norm == pytest.approx(sum(p.grad.pow(2).sum().item() for p in exact.parameters()) ** 0.5, rel=1e-5)


def test_each_of_them_becomes_a_score_where_it_is_defined(llama):
    seen = evaluate(*llama, SELECTION, METRICS, GenerationConfig(max_new_tokens=4, gradnorm=True)).scored
    scores = {(s.observation.group, s.observation.sample.id): s.scores for s in seen}
    assert set(scores) == {("forget", "1"), ("rephrase", "1"), ("holdout", "2")}
    assert 0 <= scores["forget", "1"]["verbmem"] <= 1
    assert scores["forget", "1"]["mia_gradnorm"] < 0 and scores["holdout", "2"]["mia_gradnorm"] < 0
    assert scores["holdout", "2"]["verbmem"] is None  # of one word
    assert scores["rephrase", "1"]["verbmem"] is scores["rephrase", "1"]["mia_gradnorm"] is None
    plain = evaluate(*llama, SELECTION, METRICS, GenerationConfig(max_new_tokens=4)).scored
    assert all(s.scores["mia_gradnorm"] is None for s in plain)


def test_the_end_of_an_answer_counts_unless_it_is_asked_not_to(llama):
    def probability(**how):
        seen = evaluate(*llama, SELECTION, METRICS, GenerationConfig(max_new_tokens=4, **how)).scored
        return next(s.scores["answer_prob"] for s in seen if s.observation.group == "holdout")

    prompt = format_prompt(llama[1], "Who does not?")
    (tokens,) = answer_tokens(*llama, [(prompt, "nobody")], end=reply_end(llama[1]))
    assert probability() == pytest.approx(math.exp(fmean((*tokens.logprobs, tokens.end))), rel=1e-5)
    assert probability(score_end=False) == pytest.approx(math.exp(fmean(tokens.logprobs)), rel=1e-5)


def test_an_evaluation_is_remembered_by_everything_that_decides_it(llama, monkeypatch):
    model, tokenizer = llama
    calls = []
    observe = module.observe
    monkeypatch.setattr(module, "observe", lambda *a, **k: calls.append(1) or observe(*a, **k))

    def ask(selection=SELECTION, generation=GenerationConfig(max_new_tokens=4)):  # noqa: B008
        return evaluate(model, tokenizer, selection, METRICS, generation, stored=Stored(model, tokenizer))

    first = ask()
    assert ask() == first and len(calls) == 1
    other = ForgetSample("1", "Who counts?", LONG, extras={"perturbed_answer": ["y"]})
    ask(Selection([other], (), SAMPLES[1:]))
    ask(generation=GenerationConfig(max_new_tokens=5))
    ask(generation=GenerationConfig(max_new_tokens=4, system="Be brief."))
    assert len(calls) == 4
    model.model.layers[0].mlp.down_proj.weight.data[0, 0] += 1
    changed = ask()
    assert len(calls) == 5 and changed != first
    tokenizer.chat_template = tokenizer.chat_template.replace("<|end|>", "")
    assert ask() != changed and len(calls) == 6
    tokenizer.eos_token = "<|user|>"  # where a reply ends
    ask()
    assert len(calls) == 7
    handle = model.lm_head.register_forward_hook(lambda _m, _i, output: output * 0)
    ask()  # what is in no fingerprint is not remembered
    assert len(calls) == 8
    handle.remove()
    for file in caches.folder_of("evaluations").iterdir():
        file.write_text("{")  # what is broken is asked again
    ask()
    assert len(calls) == 9
    monkeypatch.setattr(module, "observe", lambda *a, **k: module.Observations([], 1.0))
    token = _here.set(Process(0, 1))  # several processes decide together, not each by its own disk
    try:
        with pytest.raises(ValueError, match="zip"):
            ask()
    finally:
        _here.reset(token)
