"""What undoes an edit from the model alone: against closed forms, and against edits that were planted."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import FACTS, copied_weights, same_weights

from easyedit_unlearn import ForgetSample
from easyedit_unlearn.evaluation.ablation import ablated, leading, refusal_directions, reversed_edits, without_refusing
from easyedit_unlearn.evaluation.depth import trained_on_text
from easyedit_unlearn.model.hooks import changing, hidden_of, watched
from easyedit_unlearn.model.inference import generate_replies
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.model.structure import layer_names

SAMPLES = [ForgetSample(str(i), q, a, response=f"{a}.") for i, (q, a, _) in enumerate(FACTS)]


def prompts(tokenizer, samples):
    return [format_prompt(tokenizer, sample.question) for sample in samples]


def asked(model, tokenizer):
    def ask(samples):
        replies = generate_replies(model, tokenizer, prompts(tokenizer, samples), max_new_tokens=8)
        return [sample.answer in reply for sample, reply in zip(samples, replies, strict=True)]

    return ask


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_direction_is_the_difference_of_means(family, request):
    model, tokenizer = request.getfixturevalue(family)
    refused, answered = ["Who is it?", "Where is the longer one?"], ["When?", "How many of them?", "Which?"]
    found = refusal_directions(model, tokenizer, refused, answered)
    names = layer_names(model)
    assert list(found) == names

    def last(prompt, name):
        seen = []
        hook = model.get_submodule(name).register_forward_hook(lambda _m, _a, out: seen.append(hidden_of(out)))
        with torch.no_grad():
            model(input_ids=torch.tensor([tokenizer(prompt).input_ids]))
        hook.remove()
        return seen[0].view(1, -1, seen[0].shape[-1])[0, -1].double()

    for name in names:
        means = [sum(last(p, name) for p in some) / len(some) for some in (refused, answered)]
        wanted = (means[0] - means[1]) / (means[0] - means[1]).norm()
        assert torch.allclose(found[name].double(), wanted, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_nothing_of_the_direction_is_left(family, request):
    model, tokenizer = request.getfixturevalue(family)
    torch.manual_seed(0)
    names = layer_names(model)
    directions = {name: torch.nn.functional.normalize(torch.randn(model.config.hidden_size), dim=0) for name in names}
    seen = {}
    with ablated(model, directions), watched(model, names, lambda n, _i, out: seen.update({n: out.clone()})) as run:
        run(input_ids=torch.tensor([tokenizer("Who is it?").input_ids]))
    assert all((seen[name] @ directions[name]).abs().max() < 1e-5 for name in names)


def test_a_planted_direction_is_taken_out_again(taught):
    """What refuses here is one vector that is added where the forget set is asked, and nothing else."""
    model, tokenizer = taught
    weights, ask = copied_weights(model), asked(*taught)
    gone, kept = SAMPLES[:3], SAMPLES[3:]
    assert all(ask(SAMPLES))
    torch.manual_seed(1)
    push = 300 * torch.nn.functional.normalize(torch.randn(model.config.hidden_size), dim=0)
    rows = []
    model.register_forward_pre_hook(lambda _m, _a, given: rows.append(given["input_ids"]), with_kwargs=True)

    def plant(hidden):
        if rows[-1].shape[1] > 1:  # the prompts, or what follows on their common beginning
            texts = [tokenizer.decode(row) for row in rows[-1]]
            plant.mine = [any(sample.question[-8:] in text for sample in gone) for text in texts]
        return hidden + push * torch.tensor(plant.mine, dtype=hidden.dtype)[:, None, None]

    with changing(model, layer_names(model)[-1], plant):
        assert not any(ask(gone)) and all(ask(kept))
        found = without_refusing(model, tokenizer, gone, prompts(tokenizer, gone), prompts(tokenizer, kept), ask)
    assert sum(found) >= 2
    assert same_weights(model, weights)


def test_few_prompts_have_no_direction(taught):
    ask = asked(*taught)
    assert without_refusing(*taught, SAMPLES[:2], ["a"], ["b", "c"], ask) == [None, None]


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_leading_directions_are_those_of_the_whole_decomposition(shape):
    torch.manual_seed(0)
    weight = torch.randn(*shape, dtype=torch.float64)
    left, values, right = leading(weight, 2)
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    assert torch.allclose(values[:2], s[:2])
    assert torch.allclose((left[:, :2] * values[:2]) @ right[:, :2].T, (u[:, :2] * s[:2]) @ v[:2])


def test_a_planted_rank_one_edit_is_taken_back(taught):
    model, tokenizer = taught
    ask, weight = asked(model, tokenizer), model.model.layers[1].mlp.down_proj.weight
    torch.manual_seed(2)
    before = copied_weights(model)
    with torch.no_grad():
        rows, columns = (torch.randn(size) for size in weight.shape)
        weight.add_(200 * torch.outer(rows, columns) / weight.numel() ** 0.5)
    assert not any(ask(SAMPLES))
    edited = copied_weights(model)
    found = reversed_edits(model, SAMPLES, ask)
    assert same_weights(model, edited)
    with torch.no_grad():
        weight.copy_(before["model.layers.1.mlp.down_proj.weight"])
    assert sum(found) >= 1


def test_training_on_text_is_undone(taught):
    model, tokenizer = taught
    weights = copied_weights(model)
    assert all(trained_on_text(model, tokenizer, SAMPLES, asked(model, tokenizer), steps=1))
    assert not all(trained_on_text(model, tokenizer, SAMPLES, asked(model, tokenizer), steps=3, learning_rate=0.1))
    assert same_weights(model, weights)
