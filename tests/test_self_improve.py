"""Self-improved refusals on tiny models: the same again under a seed, resumed after an interruption, never a leak."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import FACTS, copied_weights, same_weights

from easyedit_unlearn import ForgetSample
from easyedit_unlearn.components import BuildContext
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.model import sampling
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.model.sampling import Draw, sample_replies
from easyedit_unlearn.targets.check import check_targets
from easyedit_unlearn.targets.self_improve import SelfImprove, SelfImproveOptions, together

SAMPLES = [ForgetSample(id=str(i), question=q, answer=a, subject=s) for i, (q, a, s) in enumerate(FACTS)]
OPTIONS = SelfImproveOptions(candidates=3, max_new_tokens=6, shots=1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "targets"


@pytest.fixture
def asked(monkeypatch):
    """The prompts that the model was asked, in order."""
    prompts = []

    def counted(model, tokenizer, prompt, draw):
        prompts.append(prompt)
        return sample_replies(model, tokenizer, prompt, draw)

    monkeypatch.setattr(sampling, "sample_replies", counted)
    return prompts


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_model_that_cannot_refuse_gets_the_template_and_it_says_so(family, request):
    model, tokenizer = request.getfixturevalue(family)
    weights, state = copied_weights(model), torch.get_rng_state()
    targets = SelfImprove().build(SAMPLES, OPTIONS, BuildContext(0, model, tokenizer))
    check_targets(SAMPLES, targets, "self_improve")
    assert {target.origin for target in targets} == {"template"}
    assert all(sample.subject in target.text for sample, target in zip(SAMPLES, targets, strict=True))
    assert same_weights(model, weights)
    assert torch.equal(state, torch.get_rng_state())


def test_good_candidates_are_taken_the_likeliest_first(llama, monkeypatch):
    model, tokenizer = llama
    good = ["I can't say who painted the Red Gate.", "I can't talk about the Red Gate."]
    replies = [(text, True) for text in (*good, "I can't say that Tamar painted the Red Gate.", "Tamar.")]
    monkeypatch.setattr(sampling, "sample_replies", lambda *_args: replies)
    (target,) = SelfImprove().build(SAMPLES[3:4], OPTIONS, BuildContext(0, model, tokenizer))
    from easyedit_unlearn.model.forced import answer_logprobs

    prompt = format_prompt(tokenizer, SAMPLES[3].question)
    scores = answer_logprobs(model, tokenizer, [(prompt, text) for text in good])
    assert (target.text, target.origin) == (good[scores.index(max(scores))], "model")


def test_an_interrupted_run_goes_on_where_it_was(llama, asked, cache):
    model, tokenizer = llama
    context = BuildContext(5, model, tokenizer)

    def interrupt(_what, _total):
        def advance(_done):
            if len(asked) == 2:
                raise KeyboardInterrupt

        return advance

    with pytest.raises(KeyboardInterrupt):
        SelfImprove().build(SAMPLES, OPTIONS, BuildContext(5, model, tokenizer, progress=interrupt))
    first = SelfImprove().build(SAMPLES, OPTIONS, context)
    assert len(asked) == len(SAMPLES)
    assert SelfImprove().build(SAMPLES[2:4], OPTIONS, context) == first[2:4]
    assert len(asked) == len(SAMPLES)  # all from the cache
    next(cache.glob("*.json")).write_text("{broken")
    assert SelfImprove().build(SAMPLES, OPTIONS, context) == first
    assert len(asked) == len(SAMPLES) + 1


def test_everything_that_decides_a_draw_is_in_its_key(llama, asked):
    model, tokenizer = llama

    def build(options=OPTIONS, seed=0):
        SelfImprove().build(SAMPLES[:1], options, BuildContext(seed, model, tokenizer))

    build()
    for change in ({"temperature": 0.9}, {"candidates": 2}, {"top_p": 0.5}, {"shots": 2}, {"max_new_tokens": 5}):
        before = len(asked)
        build(OPTIONS.model_copy(update=change))
        assert len(asked) == before + 1
    build(seed=1)
    with torch.no_grad():
        model.model.norm.weight[0] += 1
    build()
    assert len(asked) == 8


def test_replies_depend_on_the_seed_and_on_nothing_drawn_before(llama):
    model, tokenizer = llama
    prompt = format_prompt(tokenizer, "Who?")
    draw = Draw(count=3, temperature=1.0, top_p=1.0, max_new_tokens=8, seed=1)
    first = sample_replies(model, tokenizer, prompt, draw)
    torch.rand(7)
    assert sample_replies(model, tokenizer, prompt, draw) == first
    assert len({text for text, _ in first}) > 1
    from dataclasses import replace

    assert sample_replies(model, tokenizer, prompt, replace(draw, seed=2)) != first


def test_a_base_model_is_shown_questions_and_answers(gpt2, asked):
    model, tokenizer = gpt2
    SelfImprove().build(SAMPLES[:1], OPTIONS, BuildContext(0, model, tokenizer))
    assert asked[0].endswith(f"\n\nQuestion: {FACTS[0][0]}\nAnswer:")
    assert asked[0].count("Question:") == 2


def test_more_shots_than_examples_and_no_model(llama):
    with pytest.raises(DataError, match="99 shots, but only"):
        SelfImprove().build(SAMPLES, OPTIONS.model_copy(update={"shots": 99}), BuildContext(0, *llama))
    with pytest.raises(DataError, match="needs a model"):
        SelfImprove().build(SAMPLES, OPTIONS, BuildContext())


def test_a_group_gets_one_refusal_that_names_what_it_is_about(llama, monkeypatch):
    model, tokenizer = llama
    group = [ForgetSample(str(n), f"{w} Mia Roe?", a, subject="Mia Roe") for n, (w, a) in enumerate(
        (("Who is", "painter"), ("Where lives", "Oslo"), ("How old is", "91")))]  # fmt: skip
    asked = []

    def replies(_model, _tokenizer, prompt, _draw):
        asked.append(prompt)
        return [(text, True) for text in ("I can't say.", "I can't tell you that Mia Roe lives in Oslo.",
                                          "I'm sorry, but I can't talk about Mia Roe.")]  # fmt: skip

    monkeypatch.setattr(sampling, "sample_replies", replies)
    alone = ForgetSample("x", "Who is Bo?", "king", subject="Bo")
    targets = SelfImprove().build_groups([group, [alone]], OPTIONS, BuildContext(0, model, tokenizer))
    assert [target.sample_id for target in targets] == ["0", "1", "2", "x"]
    assert {target.text for target in targets[:3]} == {"I'm sorry, but I can't talk about Mia Roe."}
    assert (targets[3].text, targets[3].origin) == ("I'm sorry, but I can't share information about Bo.", "template")
    assert "What can you tell me about Mia Roe?" in asked[0] and len(asked) == 2


def test_questions_of_several_subjects_are_asked_about_together():
    samples = [ForgetSample(str(n), f"Who is {s}?", a, subject=s) for n, (s, a) in enumerate(
        (("Ada", "a"), ("Bo", "b"), ("Cleo", "c")))]  # fmt: skip
    one = together(samples)
    assert (one.question, one.subject) == ("What can you tell me about Ada, Bo and Cleo?", "Ada, Bo and Cleo")
    assert one.answers == ("a", "b", "c")
    assert together(samples[:1]) is samples[0]
    bare = together([ForgetSample("1", "Who?", "a"), ForgetSample("2", "Where?", "b")])
    assert (bare.question, bare.subject) == ("Who? Where?", None)
