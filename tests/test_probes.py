"""Depth probes against what they must equal, and whole probes on a tiny taught model."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import FACTS, copied_weights, same_weights

from easyedit_unlearn import ForgetSample
from easyedit_unlearn.components import Metric
from easyedit_unlearn.evaluation.depth import final_norm, logit_lens, relearned, round_trip, rounded, undone
from easyedit_unlearn.evaluation.observe import GenerationConfig
from easyedit_unlearn.evaluation.probes import ABOUT, forgotten, probe
from easyedit_unlearn.evaluation.scoring import evaluate
from easyedit_unlearn.model.forced import answer_tokens
from easyedit_unlearn.model.inference import answer_nll, generate_replies, pad_pairs
from easyedit_unlearn.model.prompting import encode_pair, format_prompt
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.types import Selection

SAMPLES = [ForgetSample(str(i), q, a, subject=s, response=f"{a}.") for i, (q, a, s) in enumerate(FACTS)]


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_the_lens_ends_in_what_the_model_says(family, request):
    model, tokenizer = request.getfixturevalue(family)
    pairs = [("Who is it?", " Ann Lee"), ("Where?", " x"), ("Where?", "")]
    found = logit_lens(model, tokenizer, pairs)
    assert [len(rows) for rows in found] == [model.config.num_hidden_layers] * 2 + [0]
    for rows, tokens in zip(found, answer_tokens(model, tokenizer, pairs), strict=True):
        if tokens:
            assert rows[-1][0] == pytest.approx(sum(tokens.logprobs) / len(tokens.logprobs), rel=1e-4)
            assert rows[-1][1] == all(tokens.greedy)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_lens_of_an_inner_layer_by_hand(family, request):
    model, tokenizer = request.getfixturevalue(family)
    (rows,) = logit_lens(model, tokenizer, [("Who is it?", " Ann")])
    before, said = encode_pair(tokenizer, "Who is it?", " Ann")
    seen = []
    layer = model.get_submodule("transformer.h.0" if family == "gpt2" else "model.layers.0")
    hook = layer.register_forward_hook(lambda _m, _a, out: seen.append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        model(input_ids=torch.tensor([before + said]))
        logits = model.get_output_embeddings()(final_norm(model)(seen[0].view(1, -1, seen[0].shape[-1])))[0]
    hook.remove()
    logprobs = logits[len(before) - 1 : -1].log_softmax(-1)
    expected = [float(row[token]) for row, token in zip(logprobs, said, strict=True)]
    assert rows[0][0] == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_rounding_keeps_what_is_on_the_grid_and_errs_by_half_a_step():
    weight = torch.tensor([[1.0, -7.0, 3.0], [0.0, 0.0, 0.0]])
    assert torch.equal(round_trip(weight, 4), weight)  # 4 bits: -7 to 7
    random = torch.randn(5, 9, dtype=torch.float64)
    step = random.abs().amax(1, keepdim=True) / 127
    assert ((round_trip(random, 8) - random).abs() <= step / 2 + 1e-12).all()
    assert torch.equal(round_trip(random.T, 8, dim=0), round_trip(random, 8).T)


def given(model, tokenizer):
    def ask(samples):
        prompts = [format_prompt(tokenizer, sample.question) for sample in samples]
        replies = generate_replies(model, tokenizer, prompts, max_new_tokens=8)
        return [sample.answer in reply for sample, reply in zip(samples, replies, strict=True)]

    return ask


def asked_in(tokenizer):
    return lambda question: format_prompt(tokenizer, question)


def ascend(model, tokenizer, ask):
    """Until the model gives none of the facts, and no further."""
    pairs = [encode_pair(tokenizer, format_prompt(tokenizer, s.question), s.answer) for s in SAMPLES]
    ids, labels, mask = pad_pairs(pairs, 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for _ in range(60):
        total, count = answer_nll(model(input_ids=ids, attention_mask=mask).logits, labels)
        optimiser.zero_grad()
        (-total / count).mean().backward()
        optimiser.step()
        if not any(ask(SAMPLES)):
            return
    pytest.fail("gradient ascent did not make it forget")


def test_a_fact_that_was_only_pushed_down_is_relearned_from_others(taught):
    """Gradient ascent on all facts together: teaching half of them again brings some of the other half back."""
    model, tokenizer = taught
    ask = given(model, tokenizer)
    assert ask(SAMPLES) == [True] * 6
    ascend(model, tokenizer, ask)
    weights, flags = copied_weights(model), [p.requires_grad for p in model.parameters()]
    relearn = partial(relearned, model, tokenizer, known=SAMPLES, ask=ask, prompt=asked_in(tokenizer))
    back = relearn(SAMPLES, learning_rate=3e-4)
    assert sum(back) >= 2
    assert relearn(SAMPLES, steps=0) == [False] * 6
    assert relearn(SAMPLES, learning_rate=1e30) == [None] * 6
    # of fewer that are gone, those come back that did among all: the same half is taught
    assert relearn([SAMPLES[5], SAMPLES[0]], learning_rate=3e-4) == [back[5], back[0]]
    assert relearn(SAMPLES[:1], known=SAMPLES[:1]) == [None]  # nothing else could be taught
    assert not any(rounded(model, SAMPLES, ask, 8))
    assert same_weights(model, weights)
    assert [p.requires_grad for p in model.parameters()] == flags
    half = copy.deepcopy(model).bfloat16()
    before = copied_weights(half)
    relearn = partial(relearned, half, tokenizer, known=SAMPLES, ask=given(half, tokenizer), prompt=asked_in(tokenizer))
    assert any(relearn(SAMPLES, learning_rate=3e-4))  # in the model's own precision small steps would be lost
    assert same_weights(half, before)
    with pytest.raises(KeyboardInterrupt), undone(model):
        model.model.layers[0].mlp.down_proj.weight.data.zero_()
        raise KeyboardInterrupt
    assert same_weights(model, weights)


def test_probes_tell_the_hidden_from_the_forgotten(taught):
    """A system prompt hides the facts from a plain question alone; where it is not said, they are all there."""
    model, tokenizer = taught
    weights = copied_weights(model)
    selection = Selection(SAMPLES[:2], SAMPLES[2:], (), frozenset(s.key for s in (SAMPLES[0], *SAMPLES[2:])))
    metrics = [m for m in default_plugins().metrics if isinstance(m, Metric)]
    seen = evaluate(model, tokenizer, selection, metrics, GenerationConfig(max_new_tokens=8))
    assert forgotten(selection, seen) == []
    assert probe(model, tokenizer, selection, seen, attacks=True, depth=True)["facts"] == 0
    refused = replace(
        seen, scored=[replace(s, observation=replace(s.observation, text="No idea.")) for s in seen.scored]
    )
    assert forgotten(selection, refused) == [SAMPLES[0]]  # the other was not known before
    found = probe(
        model, tokenizer, selection, refused, attacks=True, depth=True, generation=GenerationConfig(max_new_tokens=8)
    )
    assert set(found["back"]) == set(ABOUT)
    assert found["back"]["sampled"] == {"back": 1, "of": 1}
    assert found["back"]["int8"] == {"back": 1, "of": 1}
    assert found["back"]["logit_lens"] == {"back": 1, "of": 1}
    assert found["back"]["relearning"]["of"] == 0  # no other known fact of the forget set to teach
    assert found["back"]["multiple_choice"]["of"] == found["back"]["few_shot"]["of"] == 1
    assert found["back"]["own_words"]["of"] == 0  # the reply begins with the answer: nothing comes before it
    assert (found["facts"], found["hidden"], found["forgotten"]) == (1, 1, 0)
    assert set(found["samples"]) == {"0"}
    assert len(found["lens"]) == model.config.num_hidden_layers
    assert all(0 <= p <= 1 and math.isfinite(p) for p in found["lens"])
    assert same_weights(model, weights)
