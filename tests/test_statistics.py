"""Key second moments: right in float64, one pass, cached and never stale."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from easyedit_unlearn.editors.statistics import Corpus, cached_key_moments, key_moments, prompt_keys
from easyedit_unlearn.errors import ConfigError, DataError
from easyedit_unlearn.model.weights import fingerprint

TEXTS = [f"Sentence number {i} is about something, and {i} more words." for i in range(60)]
NAMES = {
    "llama": [f"model.layers.{i}.mlp.down_proj" for i in range(2)],
    "gpt2": [f"transformer.h.{i}.mlp.c_proj" for i in range(2)],
}


def reference(model, tokenizer, name, max_tokens):
    """The definition, in float64: run the same windows and average k k^T."""
    ids = [i for text in TEXTS for i in tokenizer(text, add_special_tokens=False).input_ids][:max_tokens]
    keys = []
    handle = model.get_submodule(name).register_forward_hook(lambda _m, given, _o: keys.append(given[0][0]))
    model = model.double()
    with torch.no_grad():
        for start in range(0, len(ids), 256):
            model(input_ids=torch.tensor([ids[start : start + 256]]))
    handle.remove()
    flat = torch.cat(keys)
    return flat.T @ flat / len(flat)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_moments_match_the_definition(family, request):
    model, tokenizer = request.getfixturevalue(family)
    found = key_moments(model, tokenizer, NAMES[family], Corpus(TEXTS, 1500))
    for name in NAMES[family]:
        expected = reference(model, tokenizer, name, 1500)
        assert (found[name].double() - expected).norm() / expected.norm() < 1e-5


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_keys_of_prompts_are_all_their_own_and_what_they_share_once(family, request):
    model, tokenizer = request.getfixturevalue(family)
    prompts, (name, *_) = ["The same, then: Rome", "The same, then: Paris, France"], NAMES[family]
    seen = []
    handle = model.get_submodule(name).register_forward_hook(lambda _m, given, _o: seen.append(given[0][0]))
    with torch.no_grad():
        for prompt in prompts:
            model(input_ids=torch.tensor([tokenizer(prompt).input_ids]))
    handle.remove()
    ids = [tokenizer(prompt).input_ids for prompt in prompts]
    shared = next(n for n, pair in enumerate(zip(*ids, strict=False)) if pair[0] != pair[1])
    expected = torch.cat([seen[0], seen[1][shared:]]).double()
    found = prompt_keys(model, tokenizer, [name], prompts)[name].double()
    assert found.shape == expected.T.shape
    order = [m[torch.argsort(m.norm(dim=1))] for m in (expected, found.T)]
    assert torch.allclose(order[0], order[1], atol=1e-5)


def test_the_pass_stops_after_the_last_layer_of_interest(llama):
    model, tokenizer = llama
    ran = []
    model.model.layers[1].register_forward_hook(lambda *_: ran.append(1))
    key_moments(model, tokenizer, NAMES["llama"][:1], Corpus(TEXTS, 300))
    assert not ran


def test_the_cache_knows_the_model_the_corpus_and_the_layer(llama, tmp_path, monkeypatch):
    from easyedit_unlearn.editors import statistics

    model, tokenizer = llama
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    passes, compute = [], statistics.key_moments
    monkeypatch.setattr(statistics, "key_moments", lambda *a, **k: passes.append(a[2]) or compute(*a, **k))

    def get(names=NAMES["llama"], texts=TEXTS, tokens=600):
        return cached_key_moments(model, tokenizer, names, Corpus(texts, tokens))

    first = get()
    assert all(torch.equal(first[name], value) for name, value in get().items())
    assert passes == [NAMES["llama"]]
    get(texts=TEXTS[1:])
    get(tokens=601)
    assert len(passes) == 3
    model.model.layers[0].mlp.down_proj.weight.data[0, 0] += 1e-3
    get()
    assert len(passes) == 4
    for path in (tmp_path / "statistics").iterdir():
        path.write_bytes(b"broken")
    get()  # what cannot be read is made again
    assert len(passes) == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written_costs_nothing_else(llama, tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    tmp_path.chmod(0o500)
    try:
        assert set(cached_key_moments(*llama, NAMES["llama"], Corpus(TEXTS, 600))) == set(NAMES["llama"])
    finally:
        tmp_path.chmod(0o700)


def test_any_edit_changes_the_fingerprint(llama):
    model, _ = llama
    before = fingerprint(model)
    assert fingerprint(model) == before
    assert fingerprint(model.bfloat16()) != before


def test_what_cannot_be_measured(llama, tmp_path):
    model, tokenizer = llama
    with pytest.raises(ConfigError, match="has no module 'model.layers.9'"):
        key_moments(model, tokenizer, ["model.layers.9"], Corpus(TEXTS))
    with pytest.raises(DataError, match="has no tokens"):
        key_moments(model, tokenizer, NAMES["llama"], Corpus([""]))
    with pytest.raises(DataError, match="cannot be read"):
        Corpus.from_file(tmp_path / "none.txt")
    (tmp_path / "blank.txt").write_text("\n \n")
    with pytest.raises(DataError, match="holds no text"):
        Corpus.from_file(tmp_path / "blank.txt")


def test_the_corpus_that_the_hparams_name(tmp_path, monkeypatch):
    import sys
    from types import SimpleNamespace

    from easyedit_unlearn.config.settings import NativeOptions
    from easyedit_unlearn.editors.corpus import corpus_of
    from easyedit_unlearn.errors import ConfigError

    def named(corpus, tokens=4, retain=()):
        return list(corpus_of(NativeOptions(corpus=corpus, corpus_tokens=tokens), "MEMIT", retain).texts)

    assert named("retain", retain=[("Who? ", "Me.")]) == ["Who? Me."]
    with pytest.raises(ConfigError, match="was given no retain set"):
        named("retain")
    asked = []

    def load_dataset(*args, **kwargs):  # the edge: no network in tests
        asked.append((args, kwargs))
        return ({"text": "x" * 20} for _ in range(10))

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert named("hub:a/b:c") == ["x" * 20] * 2  # no more than four tokens need
    assert asked == [(("a/b", "c"), {"split": "train", "streaming": True})]
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match="pip install datasets"):
        named("hub:a/b")
