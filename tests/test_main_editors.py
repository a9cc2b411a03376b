"""The main branch's own editors on a tiny model: they run, restore bitwise, keep a sequence, and do not leak."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.host, pytest.mark.filterwarnings("default")]
torch = pytest.importorskip("torch")

import yaml
from conftest import FACTS, copied_weights, same_weights
from host_editors import CANNOT, EDITORS, PLAIN

from easyedit_unlearn import ForgetSample, UnlearnHyperParams, unlearning_requests
from easyedit_unlearn.builtins import EASYEDIT, host_editors
from easyedit_unlearn.components import no_progress
from easyedit_unlearn.errors import ConfigError, HostError
from easyedit_unlearn.host.find import find_host
from easyedit_unlearn.host.running import make_editor, run_edits, undone_after
from easyedit_unlearn.model.memories import attached

SAMPLES = [ForgetSample(id=str(i), question=q, answer=a, subject=s) for i, (q, a, s) in enumerate(FACTS)]
LAYER = "model.layers.0.mlp.down_proj"
OWN = ("MEMIT", "AlphaEdit", "GRACE", "WISE")


@pytest.fixture(autouse=True)
def on_main():
    info = find_host()
    if info is None or info.kind != "main":
        pytest.skip("needs EasyEdit's main branch: set EASYEDIT_HOME")


@pytest.fixture
def editor_for(taught, tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(f"Plain text, line {i}, of no interest." for i in range(40)))

    def make(alg_name, pair=taught):
        unlearn = {"engine": "host", "target": {"builder": "fixed"}, "native": {"corpus": str(corpus)}}
        for name in ("ROME", alg_name):  # SimIE's base editor lies beside it
            path = tmp_path / "hparams" / name / "tiny.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump({**EDITORS.get(name, PLAIN), "alg_name": name, "unlearn": unlearn}))
        hparams = UnlearnHyperParams.from_hparams(path)
        hparams.model_name = pair
        return make_editor(hparams)

    return make


def test_every_editor_of_easyedit_is_known():
    assert host_editors().names == {*EDITORS, *CANNOT} == set(EASYEDIT)


@pytest.mark.parametrize("alg_name", list(EDITORS))
def test_every_editor_runs_as_an_unlearner_and_is_taken_back_bitwise(alg_name, editor_for, taught):
    for package in {"KN": ["einops"], "LoRA": ["peft"], "QLoRA": ["peft"], "DPO": ["peft"]}.get(alg_name, ["sklearn"]):
        pytest.importorskip(package)
    model, tokenizer = taught
    weights, use_cache = copied_weights(model), model.config.use_cache
    ids = torch.tensor([tokenizer(FACTS[0][0]).input_ids])
    before = model(input_ids=ids).logits
    editor = editor_for(alg_name)
    assert (editor.hparams.method.name, editor.hparams.engine) == (alg_name, "host")
    declared = set(editor.hparams.method.parameters(model, editor.hparams))
    with undone_after(model, editor.hparams, no_progress):
        run_edits(editor, unlearning_requests(editor, SAMPLES[:2]), no_progress)
        assert editor.model is model
        assert not torch.equal(model(input_ids=ids).logits, before) or alg_name in ("GRACE", "WISE", "DEFER")
        now = model.state_dict()
        assert {name for name in weights if name in now and not torch.equal(now[name], weights[name])} <= declared
        assert model.config.use_cache is use_cache
    assert set(model.state_dict()) == set(weights) and same_weights(model, weights)
    assert torch.equal(model(input_ids=ids).logits, before)


@pytest.mark.parametrize("alg_name", ["EMMET", "ULTRAEDIT", "PMET", "SPHERE", "FT"])
def test_an_edit_without_sequence_is_undone_whatever_easyedit_puts_back(alg_name, editor_for, taught):
    weights = copied_weights(taught[0])
    editor = editor_for(alg_name)
    editor.hparams.batch_size = 1
    editor.edit(**unlearning_requests(editor, SAMPLES[:1]), verbose=False)
    assert same_weights(taught[0], weights)


@pytest.mark.parametrize("alg_name", list(CANNOT))
def test_what_cannot_run_says_why_before_anything_is_done(alg_name, editor_for):
    with pytest.raises(HostError, match=f"EasyEdit's {alg_name} .*{CANNOT[alg_name]}"):
        editor_for(alg_name)


def test_where_easyedit_fails_one_line_says_so(editor_for, taught, monkeypatch):
    weights = copied_weights(taught[0])
    editor = editor_for("EMMET")
    monkeypatch.setattr(editor, "apply_algo", lambda *_args, **_kwargs: {}["emmet_lambda"])
    with pytest.raises(HostError, match="EasyEdit's EMMET failed: KeyError: 'emmet_lambda'"):
        run_edits(editor, unlearning_requests(editor, SAMPLES[:1]), no_progress)
    assert same_weights(taught[0], weights)


@pytest.mark.parametrize("alg_name", OWN)
def test_an_edit_runs_with_easyedits_metrics_and_is_undone(alg_name, editor_for, taught, tmp_path):
    pytest.importorskip("sklearn")
    weights = copied_weights(taught[0])
    editor = editor_for(alg_name)
    metrics, _, _ = editor.edit(**unlearning_requests(editor, SAMPLES[:2]), verbose=False)
    assert [sorted(metric) for metric in metrics] == [["case_id", "post", "pre", "requested_rewrite"]] * 2
    assert same_weights(taught[0], weights)
    assert not (tmp_path / "null_space_project.pt").exists()


@pytest.mark.parametrize("alg_name", OWN)
def test_a_run_edits_and_is_taken_back_bitwise(alg_name, editor_for, taught):
    model, tokenizer = taught
    weights = copied_weights(model)
    ids = torch.tensor([tokenizer("What is the capital of Arda?").input_ids])
    before = model(input_ids=ids).logits
    editor = editor_for(alg_name)
    with undone_after(model, editor.hparams, no_progress):
        run_edits(editor, unlearning_requests(editor, SAMPLES[:2]), no_progress)
        assert editor.model is model
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, weights[name])}
        if alg_name in ("GRACE", "WISE"):
            assert list(attached(model)) == [LAYER]
            assert not changed
        else:
            assert changed == {f"{LAYER}.weight"}
    assert same_weights(model, weights)
    assert torch.equal(model(input_ids=ids).logits, before)


def test_alphaedit_goes_on_where_the_sequence_stopped_and_starts_anew_elsewhere(editor_for, taught):
    from easyedit_unlearn.host.session import host_module

    start = copied_weights(taught[0])

    def after(*calls):
        taught[0].load_state_dict(start)
        editor = editor_for("AlphaEdit")
        for samples in calls:
            editor.edit(**unlearning_requests(editor, samples), verbose=False, sequential_edit=True)
        return taught[0].get_submodule(LAYER).weight.detach().clone()

    together, apart = after(SAMPLES[:2]), after(SAMPLES[:1], SAMPLES[1:2])
    assert torch.allclose(together, apart, atol=1e-5)
    assert not host_module("models.alphaedit.AlphaEdit_main").cache_c_new
    assert torch.equal(after(SAMPLES[:2]), together)  # nothing left over from the editors before


def test_a_batch_of_what_takes_no_batch_is_refused(editor_for):
    editor = editor_for("GRACE")
    with pytest.raises(HostError, match="one request at a time"):
        editor.batch_edit(**unlearning_requests(editor, SAMPLES[:2]), verbose=False)


def test_an_undone_edit_leaves_nothing_for_the_next(editor_for, taught, monkeypatch):
    """Two prompts of one call without sequence: each is edited as if it were alone."""
    start, seen = copied_weights(taught[0]), []

    def edited(samples):
        editor = editor_for("AlphaEdit")
        apply = editor.apply_algo

        def watched(model, *args, **kwargs):
            result = apply(model, *args, **kwargs)
            seen.append(model.get_submodule(LAYER).weight.detach().clone())
            return result

        editor.apply_algo = watched
        editor.edit(**unlearning_requests(editor, samples), verbose=False)
        assert same_weights(taught[0], start)

    edited(SAMPLES[:2])
    edited(SAMPLES[1:2])
    assert torch.allclose(seen[1], seen[2], atol=1e-6)


@pytest.mark.parametrize("alg_name", ["GRACE", "WISE"])
def test_a_second_edit_that_fails_leaves_the_first_as_it_was(alg_name, editor_for, taught, monkeypatch):
    model, tokenizer = taught
    editor = editor_for(alg_name)
    editor.edit(**unlearning_requests(editor, SAMPLES[:1]), verbose=False, sequential_edit=True)
    ids = torch.tensor([tokenizer("What is the capital of Arda?").input_ids])
    before = model(input_ids=ids).logits
    apply = editor.apply_algo

    def interrupted(*args, **kwargs):
        apply(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(editor, "apply_algo", interrupted)
    with pytest.raises(KeyboardInterrupt):
        editor.edit(**unlearning_requests(editor, SAMPLES[1:2]), verbose=False, sequential_edit=True)
    assert torch.equal(model(input_ids=ids).logits, before)


def test_a_projection_that_the_user_brings_is_the_one_that_is_used(editor_for, taught, tmp_path):
    torch.save(torch.zeros(1, *2 * (taught[0].config.intermediate_size,)), tmp_path / "mine.pt")
    editor = editor_for("AlphaEdit")
    editor.hparams.P_loc = str(tmp_path / "mine.pt")
    weights = copied_weights(taught[0])
    with undone_after(taught[0], editor.hparams, no_progress):
        run_edits(editor, unlearning_requests(editor, SAMPLES[:2]), no_progress)
        assert same_weights(taught[0], weights)  # nothing may change in no dimension
    torch.save(torch.zeros(1, 3, 3), tmp_path / "mine.pt")
    editor = editor_for("AlphaEdit")
    editor.hparams.P_loc = str(tmp_path / "mine.pt")
    with pytest.raises(ConfigError, match=r"P_loc: .*must hold a tensor of shape \(1, "):
        run_edits(editor, unlearning_requests(editor, SAMPLES[:2]), no_progress)


@pytest.mark.parametrize(("given", "calls"), [(1, [4]), (2, [2, 2]), (3, [3, 1])])
def test_batches_are_as_large_as_the_user_says(given, calls, editor_for, taught):
    editor = editor_for("MEMIT")
    editor.hparams.batch_size = given
    apply, seen = editor.apply_algo, []

    def counted(model, tok, requests, *args, **kwargs):
        seen.append(len(requests))
        return apply(model, tok, requests, *args, **kwargs)

    editor.apply_algo = counted
    with undone_after(taught[0], editor.hparams, no_progress):
        run_edits(editor, unlearning_requests(editor, SAMPLES[:4]), no_progress)
    assert seen == calls


def test_a_replacement_that_would_be_lost_is_refused(tmp_path):
    path = tmp_path / "grace.yaml"
    values = {**EDITORS["GRACE"], "alg_name": "GRACE", "replacement": "replace_all", "unlearn": {"engine": "host"}}
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"replacement: 'replace_all': .*allowed: replace_last"):
        UnlearnHyperParams.from_hparams(path)
