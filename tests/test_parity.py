"""On a shared tiny model our ROME, MEMIT and AlphaEdit make the update that EasyEdit's main branch makes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = [pytest.mark.host, pytest.mark.filterwarnings("default")]
torch = pytest.importorskip("torch")

from conftest import FACTS, copied_weights
from test_native_editors import EXTRA, corpus, editor_for  # noqa: F401

from easyedit_unlearn.components import Job
from easyedit_unlearn.editors.corpus import Corpus
from easyedit_unlearn.editors.lookup import Lookup, position_of
from easyedit_unlearn.editors.statistics import key_moments
from easyedit_unlearn.host.find import find_host

EDITED = "model.layers.0.mlp.down_proj"
MAINS = {
    "ROME": ("models.rome.rome_main", "apply_rome_to_model", ["{}"]),
    "MEMIT": ("models.memit.memit_main", "apply_memit_to_model", [["{}"]]),
    "AlphaEdit": ("models.alphaedit.AlphaEdit_main", "apply_AlphaEdit_to_model", [["{}"]]),
}
SETTINGS = {"v_num_grad_steps": 8, "clamp_norm_factor": 2, "kl_factor": 0.0625, "mom2_adjustment": True}


@pytest.fixture
def on_main():
    info = find_host()
    if info is None or info.kind != "main":
        pytest.skip("needs EasyEdit's main branch: set EASYEDIT_HOME")


@pytest.mark.parametrize("alg_name", list(MAINS))
def test_the_update_is_the_main_branchs(alg_name, on_main, editor_for, taught, monkeypatch):  # noqa: F811
    model, tokenizer = taught
    prompt, target, subject = FACTS[0][0], " No idea.", FACTS[0][2]
    request = {"prompt": prompt, "target_new": target, "subject": subject, "ground_truth": "x", "case_id": 0}
    editor = editor_for(alg_name, **SETTINGS)
    hparams = editor.hparams
    hparams.unlearn = hparams.unlearn.__class__(
        **{
            **vars(hparams.unlearn),
            "native": hparams.unlearn.native.model_copy(update={"null_space_dimensions": None, "passes": 1}),
        }
    )
    native = hparams.unlearn.native
    moments = key_moments(model, tokenizer, [EDITED], Corpus.from_file(Path(native.corpus), native.corpus_tokens))
    # EasyEdit inverts in float32: the comparison must not be one of roundings
    moments[EDITED] += 0.01 * moments[EDITED].diagonal().mean() * torch.eye(len(moments[EDITED]))
    monkeypatch.setattr("easyedit_unlearn.editors.locate.LocateThenEdit._moments", lambda *_: moments)
    if alg_name == "AlphaEdit":
        hparams.nullspace_threshold = float(torch.linalg.eigvalsh(moments[EDITED]).median())
    start = copied_weights(model)

    # ours: EasyEdit's contexts are the bare prompt, its targets have no end token
    ids = tokenizer(prompt).input_ids
    edit = Lookup(ids, tokenizer(target).input_ids, position_of(tokenizer, prompt, subject, "subject_last"))
    monkeypatch.setattr("easyedit_unlearn.editors.locate.lookups", lambda *_: [edit])
    # the update of the equation; what its ridge holds back we solve for after that, and EasyEdit does not
    monkeypatch.setattr("easyedit_unlearn.editors.locate._FURTHER", 0)
    monkeypatch.setattr("easyedit_unlearn.editors.attain.LEAST", 0.5)
    hparams.method.apply(Job(model, tokenizer, [request], hparams))
    ours = model.get_submodule(EDITED).weight.detach() - start[f"{EDITED}.weight"]
    model.load_state_dict(start)

    theirs = main_update(alg_name, model, tokenizer, request, hparams, moments[EDITED], monkeypatch)
    assert ours.norm() > 0.1
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-3


def main_update(alg_name, model, tokenizer, request, hparams, moments, monkeypatch):
    from easyedit_unlearn.editors.statistics import null_space
    from easyedit_unlearn.host.session import host_module
    from easyedit_unlearn.host.supply import _Statistics

    module_name, function, templates = MAINS[alg_name]
    module = host_module(module_name)
    monkeypatch.setattr(module, "CONTEXT_TEMPLATES_CACHE", templates, raising=False)
    hparams.device, hparams.model_name, hparams.fp16 = "cpu", "tiny-llama", False
    hparams.lm_head_module = "model.embed_tokens"  # tied
    user = host_module("models.rome.compute_u") if alg_name == "ROME" else module
    monkeypatch.setattr(user, "layer_stats", lambda *_args, **_kwargs: _Statistics(moments))
    for name in ("inv_mom2_cache", "COV_CACHE"):
        if hasattr(user, name):
            monkeypatch.setattr(user, name, {})
    if alg_name == "AlphaEdit":
        projection = null_space(moments, threshold=hparams.nullspace_threshold)[None]
        for name, value in {
            "P": projection, "P_loaded": True, "cache_c": torch.zeros_like(projection), "cache_c_new": True
        }.items():  # fmt: skip
            monkeypatch.setattr(module, name, value, raising=False)
        hparams.P_loc = str(module.__file__)
    tokenizer.padding_side = "right"
    before = model.get_submodule(EDITED).weight.detach().clone()
    request = request | {"target_new": request["target_new"].strip()}
    getattr(module, function)(model, tokenizer, [request], hparams, return_orig_weights=True)
    return model.get_submodule(EDITED).weight.detach() - before
