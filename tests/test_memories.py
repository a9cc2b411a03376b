"""GRACE and WISE beside the weights: their closed forms, generation with caches and batches, save and load, undoing."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytestmark = pytest.mark.host
torch = pytest.importorskip("torch")

import yaml
from conftest import FACTS, copied_weights, same_weights

from easyedit_unlearn import ForgetSample, UnlearnHyperParams, load_adapters, save_adapters, unlearning_requests
from easyedit_unlearn.editors import memory
from easyedit_unlearn.editors.grace import SHY, deferral_radii
from easyedit_unlearn.editors.inputs import inputs_of
from easyedit_unlearn.editors.margins import MarginSettings, margin_loss, sharpen, threshold
from easyedit_unlearn.editors.wise import _check_quiet, masked_least_squares, random_mask
from easyedit_unlearn.errors import (
    AttainmentError,
    ConfigError,
    DataError,
    DivergenceError,
    UnlearnError,
    UnlearnWarning,
)
from easyedit_unlearn.host.running import make_editor
from easyedit_unlearn.model.forced import answer_logprobs
from easyedit_unlearn.model.inference import generate_replies
from easyedit_unlearn.model.memories import (
    Codebook,
    SequenceMemory,
    SideMemory,
    attach,
    attached,
    counted_activity,
    detach,
)
from easyedit_unlearn.model.memory_files import require_mergeable
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.model.structure import decoder_layers, edited_layer
from easyedit_unlearn.plugins.load import default_plugins

SAMPLES = [ForgetSample(id=str(i), question=q, answer=a, subject=s) for i, (q, a, s) in enumerate(FACTS)]
LAYER = "model.layers.0.mlp.down_proj"
REFUSAL = "No idea."
OWN = {
    "GRACE": {"edit_lr": 0.5, "n_iter": 60, "eps": 100.0},
    "WISE": {"edit_lr": 1.0, "n_iter": 10, "act_margin": [1.0, 5.0, 2.0], "mask_ratio": 1.0, "norm_constraint": 50.0},
}


@pytest.fixture
def editor_for(taught, tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path / "cache"))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(f"Plain text, line {i}, of no interest." for i in range(40)))

    def make(alg_name, **changes):
        values = {"alg_name": alg_name, "model_name": "unset", "inner_params": [f"{LAYER}.weight"]} | {
            "max_length": 256
        }
        native = {"corpus": str(corpus), "contexts": 1, "value_steps": 60, "value_clamp": 20.0}
        values |= OWN[alg_name] | {"max_length": 256} | changes
        values["unlearn"] = {"engine": "native", "target": {"builder": "fixed", "text": REFUSAL}, "native": native}
        path = tmp_path / "h.yaml"
        path.write_text(yaml.safe_dump(values))
        hparams = UnlearnHyperParams.from_hparams(path)
        hparams.model_name = taught
        return make_editor(hparams)

    return make


def unlearn(editor, samples, **options):
    options = options or {"sequential_edit": True}
    retain = SAMPLES[4:]
    if len(samples) > 1:
        editor.hparams.batch_size = len(samples)
        return editor.batch_edit(**unlearning_requests(editor, samples, retain=retain), verbose=False, **options)
    return editor.edit(**unlearning_requests(editor, samples, retain=retain), verbose=False, **options)


def leaning(model, tokenizer, sample):
    """How much likelier the refusal is than the answer, in nats per token.

    Six facts in two layers leave little to steer by: the direction is tested here, refusals on the real model.
    """
    prompt = format_prompt(tokenizer, sample.question)
    refusal, answer = answer_logprobs(model, tokenizer, [(prompt, REFUSAL), (prompt, f"{sample.answer}.")])
    return refusal - answer


QA = [(q, f"{a}.") for q, a, _ in FACTS]


def test_a_codebook_answers_within_its_balls():
    keys, values = torch.tensor([[0.0, 0.0], [10.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    book = Codebook(keys=keys, values=values, radii=torch.tensor([1.0, 3.0]))
    given = torch.tensor([[[0.5, 0.0], [1.5, 0.0], [8.0, 0.0], [20.0, 0.0]]])
    put_out = book(None, (given,), torch.zeros(1, 4, 3))
    assert put_out[0, :, 0].tolist() == [1.0, 0.0, 2.0, 0.0]


def test_of_several_side_memories_the_most_active_answers():
    changes = torch.stack([torch.eye(2), 3 * torch.eye(2)])
    memory = SideMemory(changes=changes, thresholds=torch.tensor([1.0, 6.0]))
    given = torch.tensor([[[0.5, 0.0], [1.5, 0.0], [4.0, 0.0]]])
    put_out = memory(None, (given,), torch.ones(1, 3, 2, dtype=torch.bfloat16))
    assert put_out.dtype == torch.bfloat16
    # silent; the first alone is above its threshold; both are, and the second is more active
    assert put_out[0, :, 0].tolist() == [1.0, 2.5, 13.0]


def test_a_memory_by_sequence_answers_for_whole_rows_and_for_what_follows_them():
    memory = SequenceMemory(
        changes=torch.eye(2)[None], thresholds=torch.tensor([1.0]), prefix=torch.tensor([[9.0, 0.0]])
    )
    given = torch.tensor([[[9.0, 0.0], [0.5, 0.0]], [[9.0, 0.0], [2.0, 0.0]]])
    silent, spoken = memory(None, (given,), torch.zeros(2, 2, 2))[..., 0].tolist()
    assert silent == [0.0, 0.0]  # what every prompt begins with does not count, however active
    assert spoken == [9.0, 2.0]  # one active token, and all of its row
    next_token = torch.tensor([[[7.0, 0.0]], [[0.1, 0.0]]])
    assert memory(None, (next_token,), torch.zeros(2, 1, 2))[:, 0, 0].tolist() == pytest.approx([0.0, 0.1])
    assert memory(None, (next_token[:1],), torch.zeros(1, 1, 2))[:, 0, 0].tolist() == [7.0]  # other rows: by itself
    quiet = memory(None, (given[:1],), torch.zeros(1, 2, 2))  # a new text
    assert quiet.abs().sum() == 0


def test_a_memory_by_sequence_generates_alike_alone_and_in_batches_and_survives_saving(taught, tmp_path):
    model, tokenizer = taught
    prompts = [format_prompt(tokenizer, q) for q, _, _ in FACTS]
    ids = [tokenizer(prompt).input_ids for prompt in prompts]
    prefix = inputs_of(model, LAYER, [ids[0][:8]], 1)
    changes = 0.3 * torch.randn(1, *model.get_submodule(LAYER).weight.shape, generator=torch.Generator().manual_seed(0))
    inputs = [inputs_of(model, LAYER, [one], 1) for one in ids]
    activity = [counted_activity((keys @ changes[0].T)[:, None], keys, prefix).max() for keys in inputs]
    low, high = torch.stack(activity).sort().values[len(ids) // 2 - 1 :][:2]
    middle = (low + high) / 2  # no row lies on it, where rounding would decide
    attach(model, LAYER, SequenceMemory(changes=changes, thresholds=middle[None], prefix=prefix))

    def replies():
        found = []
        for one in ids:
            row = torch.tensor([one])
            out = model.generate(input_ids=row, attention_mask=torch.ones_like(row), max_new_tokens=8, do_sample=False)
            found.append(out[0, len(one) :].tolist())
        return found

    alone = replies()
    save_adapters(model, tmp_path)
    detach(model)
    untouched = replies()
    assert sum(a != b for a, b in zip(alone, untouched, strict=True)) in range(1, 4)  # half the rows at most
    load_adapters(model, tmp_path)
    assert replies() == alone
    assert generate_replies(model, tokenizer, prompts, max_new_tokens=8) == [
        tokenizer.decode(row, skip_special_tokens=True).strip() for row in alone
    ]


def test_radii_leave_neighbours_and_other_answers_alone():
    keys = torch.tensor([[0.0], [10.0], [40.0]], dtype=torch.float64)
    alone = deferral_radii(keys, ["a", "a", "a"], 3.0)
    assert alone.tolist() == [3.0, 3.0, 3.0]
    split = deferral_radii(keys, ["a", "b", "b"], 100.0)
    assert split.tolist() == pytest.approx([SHY * 5, SHY * 5, SHY * 20])
    near = deferral_radii(keys, ["a", "a", "a"], 100.0, torch.tensor([[2.0], [60.0]]))
    assert near.tolist() == pytest.approx([SHY * 2, SHY * 8, SHY * 20])


def test_masked_least_squares_is_the_minimum_and_keeps_to_its_mask():
    torch.manual_seed(0)
    keys, values = torch.randn(6, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    root = torch.randn(6, 6, dtype=torch.float64)
    covariance = root @ root.T
    for ratio in (0.5, 1.0):
        mask = random_mask((3, 6), ratio, torch.Generator().manual_seed(1))
        found = masked_least_squares(keys, 0.3 * covariance + keys @ keys.T, mask)(values)
        assert bool((found[~mask] == 0).all())
        free = found.clone().requires_grad_()
        loss = (free @ keys - values).square().sum() + 0.3 * torch.trace(free @ covariance @ free.T)
        slope = torch.autograd.grad(loss, free)[0]
        assert float(slope[mask].abs().max()) < 1e-4


def test_the_margin_loss_by_hand():
    inside, outside = torch.tensor([30.0, 10.0]), torch.tensor([1.0, 9.0])
    # outside above 5: 4; inside below 20: 10; less than 15 above the most active of outside, 9: 15 - 1 = 14
    assert float(margin_loss(inside, outside, 5.0, 20.0, 15.0)) == pytest.approx(4 + 10 + 14)
    assert float(margin_loss(torch.tensor([99.0]), torch.tensor([0.0]), 5.0, 20.0, 15.0)) == 0.0


def test_sharpening_widens_the_gap():
    torch.manual_seed(0)
    keys, values, outside = torch.randn(8, 3), 10 * torch.randn(5, 3), torch.randn(50, 8)
    mask = torch.ones(5, 8, dtype=torch.bool)
    start = masked_least_squares(keys, 0.1 * torch.eye(8) + keys @ keys.T, mask)(values)

    def gap(change):
        return float((change @ keys).norm(dim=0).min() - (outside @ change.T).norm(dim=1).max())

    settings = MarginSettings(100, 0.05, 100.0, 1.0, 10.0, 5.0)
    after = sharpen(start, mask, keys, values, outside, settings, lambda _n: None)
    assert gap(after) > gap(start)
    with pytest.raises(DivergenceError):
        sharpen(start, mask, keys, values * float("nan"), outside, settings, lambda _n: None)


def test_a_threshold_lies_between_the_two_sides():
    change, keys = torch.eye(2), torch.tensor([[10.0, 8.0], [0.0, 0.0]])
    assert threshold(change, keys, torch.tensor([[1.0, 0.0]]), 0.5) == pytest.approx(4.0)
    assert threshold(change, keys, torch.tensor([[6.0, 0.0]]), 0.5) == pytest.approx(6.06)
    assert threshold(change, keys, torch.tensor([[60.0, 0.0]]), 0.5) == pytest.approx(7.92)


@pytest.mark.parametrize("bad", ["model.layers[0].mlp.down_proj.__import__('os')", "a b", "", "x[0", ["a", "b"]])
def test_a_path_is_never_code(bad):
    with pytest.raises(ConfigError, match="inner_params"):
        edited_layer(bad if isinstance(bad, list) else [bad])


def test_paths():
    assert edited_layer(["model.layers[2].mlp.down_proj.weight"]) == "model.layers.2.mlp.down_proj"
    assert decoder_layers("transformer.h.1.mlp.c_proj") == ["transformer.h.0", "transformer.h.1"]
    with pytest.raises(ConfigError, match="numbered decoder layer"):
        decoder_layers("lm_head")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(OWN))
def test_they_refuse_and_leave_the_weights_alone(alg_name, editor_for, taught):
    model, tokenizer = taught
    weights = copied_weights(model)
    before = [leaning(model, tokenizer, sample) for sample in SAMPLES]
    unlearn(editor_for(alg_name), SAMPLES[:1])
    after = [leaning(model, tokenizer, sample) for sample in SAMPLES]
    assert after[0] > before[0] + 0.1
    assert after[4:] == before[4:]  # bitwise: nothing answers there but the model
    assert same_weights(model, weights)
    detach(model)
    assert leaning(model, tokenizer, SAMPLES[0]) == before[0]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(OWN))
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_that_computes_no_gradients_may_edit(alg_name, mode, editor_for, taught):
    model, tokenizer = taught
    before = leaning(model, tokenizer, SAMPLES[0])
    editor = editor_for(alg_name)
    with mode():
        unlearn(editor, SAMPLES[:1])
    assert leaning(model, tokenizer, SAMPLES[0]) > before + 0.1


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(OWN))
@pytest.mark.parametrize("how", ["batch", "sequence"])
def test_a_batch_and_a_sequence_keep_every_edit(alg_name, how, editor_for, taught):
    model, tokenizer = taught
    editor = editor_for(alg_name)
    before = [leaning(model, tokenizer, sample) for sample in SAMPLES[:2]]
    for samples in [SAMPLES[:2]] if how == "batch" else [SAMPLES[:1], SAMPLES[1:2]]:
        unlearn(editor, samples)
    after = [leaning(model, tokenizer, sample) for sample in SAMPLES[:2]]
    assert all(now > then + 0.1 for now, then in zip(after, before, strict=True))
    assert list(attached(model)) == [LAYER]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(OWN))
def test_queries_that_share_a_value_change_their_outputs_alike(alg_name, editor_for, taught):
    """Whether or not their questions name a subject, which these methods can do without."""
    model, tokenizer = taught
    samples = [SAMPLES[0], replace(SAMPLES[1], subject=None), SAMPLES[2]]
    before = [leaning(model, tokenizer, sample) for sample in samples]
    alone = unlearned_outputs(model, editor_for(alg_name), samples)
    detach(model)
    editor = editor_for(alg_name)
    merger = default_plugins().query_mergers.get("shared_value")
    editor.hparams.unlearn = replace(editor.hparams.unlearn, merger=merger, merger_options=merger.Options(size=3))
    assert len(unlearning_requests(editor, samples)["prompts"]) == 1
    together = unlearned_outputs(model, editor, samples)
    after = [leaning(model, tokenizer, sample) for sample in samples]
    assert all(now > then + 0.1 for now, then in zip(after, before, strict=True))
    assert torch.linalg.matrix_rank(alone, rtol=1e-2) > 1 == torch.linalg.matrix_rank(together, rtol=1e-2)


def unlearned_outputs(model, editor, samples):
    """By how much the memory was to change the layer's output for each question, (d_value, questions)."""
    editor.hparams.batch_size = len(samples)
    editor.batch_edit(**unlearning_requests(editor, samples, retain=SAMPLES[4:]), verbose=False, sequential_edit=True)
    return attached(model)[LAYER].basis.changes


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(OWN))
def test_what_does_not_refuse_yet_is_gone_on_with(alg_name, editor_for, taught, monkeypatch):
    """What a second pass finds is added for what was missed; one that makes it worse is taken back."""
    model, _ = taught
    once = editor_for(alg_name)
    native = once.hparams.unlearn.native.model_copy(update={"passes": 1})
    once.hparams.unlearn = replace(once.hparams.unlearn, native=native)
    first = unlearned_outputs(model, once, SAMPLES[:2])
    detach(model)
    losses = iter([torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.5]), torch.tensor([0.0, 0.9])])
    monkeypatch.setattr(memory, "target_losses", lambda *_arguments: next(losses))
    second = unlearned_outputs(model, editor_for(alg_name), SAMPLES[:2])
    assert next(losses, None) is None
    half = first.shape[1] // 2  # the columns of one query
    assert torch.allclose(second[:, :half], first[:, :half])
    assert (second - first)[:, half:].norm() > 0


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(OWN))
def test_generation_is_the_same_with_cache_and_in_batches(alg_name, editor_for, taught):
    model, tokenizer = taught
    unlearn(editor_for(alg_name), SAMPLES[:2])
    prompts = [format_prompt(tokenizer, q) for q, _ in QA] + ["Hm?"]
    together = generate_replies(model, tokenizer, prompts, max_new_tokens=10)
    alone = [generate_replies(model, tokenizer, [prompt], max_new_tokens=10)[0] for prompt in prompts]
    assert together == alone
    ids = torch.tensor([tokenizer(prompts[0]).input_ids])
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 10, "do_sample": False, "pad_token_id": 1}
    cached, bare = (model.generate(ids, use_cache=use, **options) for use in (True, False))
    assert torch.equal(cached, bare)
    cached, bare = (model.generate(ids, num_beams=3, use_cache=use, **options) for use in (True, False))
    assert torch.equal(cached, bare)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(OWN))
def test_what_is_not_kept_is_taken_off(alg_name, editor_for, taught):
    from easyedit_unlearn.host.find import find_host

    model, weights = taught[0], copied_weights(taught[0])
    restore = {"keep_original_weight": True} if find_host().kind == "release" else {"sequential_edit": False}
    unlearn(editor_for(alg_name), SAMPLES[:1], **restore)
    assert not attached(model)
    assert same_weights(model, weights)


@pytest.mark.filterwarnings("default")
def test_a_failure_puts_the_earlier_memory_back(editor_for, taught, monkeypatch):
    model = taught[0]
    editor = editor_for("WISE")
    unlearn(editor, SAMPLES[:1])
    before = attached(model)[LAYER]
    monkeypatch.setattr("easyedit_unlearn.editors.wise.sharpen", lambda *_: 1 / 0)
    with pytest.raises(UnlearnError, match="WISE does not run on LlamaForCausalLM: ZeroDivisionError"):
        unlearn(editor, SAMPLES[1:2])
    assert attached(model)[LAYER] is before


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(OWN))
def test_saved_and_loaded_it_acts_the_same(alg_name, editor_for, taught, tmp_path):
    from easyedit_unlearn.model.checkpoint import save_checkpoint
    from easyedit_unlearn.model.load import load_model

    model, tokenizer = taught
    unlearn(editor_for(alg_name), SAMPLES[:2])
    folder = tmp_path / "saved-llama"
    save_checkpoint(model, tokenizer, folder)
    prompts = [format_prompt(tokenizer, q) for q, _ in QA]
    replies = generate_replies(model, tokenizer, prompts, max_new_tokens=8)
    again, its_tokenizer = load_model(str(folder))
    assert generate_replies(again, its_tokenizer, prompts, max_new_tokens=8) == replies
    with pytest.raises(UnlearnError, match="cannot be merged into weights"):
        require_mergeable(again)
    detach(again)
    require_mergeable(again)
    assert save_adapters(again, tmp_path) is None
    assert load_adapters(again, folder) == [LAYER]
    assert generate_replies(again, its_tokenizer, prompts, max_new_tokens=8) == replies


def test_a_foreign_adapter_is_refused_and_nothing_attached(llama, gpt2, tmp_path):
    book = Codebook(keys=torch.ones(1, 96), values=torch.ones(1, 48), radii=torch.ones(1))
    attach(llama[0], LAYER, book)
    save_adapters(llama[0], tmp_path)
    with pytest.raises(DataError, match="belongs to another model"):
        load_adapters(gpt2[0], tmp_path)
    attach(llama[0], LAYER, Codebook(keys=torch.ones(1, 5), values=torch.ones(1, 48), radii=torch.ones(1)))
    save_adapters(llama[0], tmp_path)
    detach(llama[0])
    with pytest.raises(DataError, match=r"keys is \(1, 5\)"):
        load_adapters(llama[0], tmp_path)
    (tmp_path / "unlearning_adapter.safetensors").write_bytes(b"not tensors")
    with pytest.raises(DataError, match="is not an unlearning adapter"):
        load_adapters(llama[0], tmp_path)
    with pytest.raises(DataError, match="is not an unlearning adapter"):
        load_adapters(llama[0], tmp_path / "absent")
    assert not attached(llama[0])


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(OWN))
def test_a_prompt_edited_again_takes_the_new_answer(alg_name, editor_for, taught):
    model, tokenizer = taught
    editor = editor_for(alg_name)
    unlearn(editor, SAMPLES[:1])
    arguments = unlearning_requests(editor, SAMPLES[:1], retain=SAMPLES[4:])
    arguments["target_new"] = ["Zzz."]
    prompt = arguments["prompts"][0]
    (before,) = answer_logprobs(model, tokenizer, [(prompt, "Zzz.")])
    editor.edit(**arguments, sequential_edit=True, verbose=False)
    (after,) = answer_logprobs(model, tokenizer, [(prompt, "Zzz.")])
    assert after > before
    tensors = attached(model)[LAYER].tensors
    assert len(tensors["radii" if alg_name == "GRACE" else "thresholds"]) == 1


def test_a_side_memory_that_would_answer_everywhere_is_none():
    """Twenty questions about one author have all but the keys of what must be left alone: it put out garbage for all of
    them, and a warning was all that said so."""
    few = torch.diag(torch.tensor([1.0, 0.1, 0.1, 0.1]))
    with pytest.warns(UnlearnWarning, match="active for 1 of the 4 tokens of plain text"):
        _check_quiet(few, {"the retain prompts": torch.eye(4)[1:], "plain text": torch.eye(4)}, 0.8)
    quiet = torch.zeros(100, 4)  # however much text is quiet: of the retain prompts it would answer all
    with pytest.raises(AttainmentError, match="active for 3 of the 3 tokens of the retain .*everywhere.*shared_value"):
        _check_quiet(torch.eye(4), {"the retain prompts": torch.eye(4)[:3], "plain text": quiet}, 0.8)


@pytest.mark.filterwarnings("default")
def test_one_layer_holds_one_kind(editor_for, taught):
    unlearn(editor_for("GRACE"), SAMPLES[:1])
    before = attached(taught[0])[LAYER]
    with pytest.raises(UnlearnError, match="GRACE acts beside"):
        unlearn(editor_for("WISE"), SAMPLES[1:2])
    assert attached(taught[0])[LAYER] is before


def test_a_memory_first_used_in_inference_can_take_part_in_training(llama):
    model, tokenizer = llama
    attach(model, LAYER, SideMemory(changes=torch.ones(1, 48, 96), thresholds=torch.zeros(1)))
    ids = torch.tensor([tokenizer("Who?").input_ids])
    with torch.inference_mode():
        model(input_ids=ids)
    model(input_ids=ids, labels=ids).loss.backward()
    assert model.model.embed_tokens.weight.grad is not None
