"""Any decoder: every method works on it, with hparams derived from its structure, or says in one line why not."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.model, pytest.mark.host, pytest.mark.filterwarnings("default")]
torch = pytest.importorskip("torch")

from architectures import ARCHITECTURES, MIXTURES, NORMED, build
from conftest import copied_weights, same_weights, tiny_tokenizer

from easyedit_unlearn import ForgetSample, unlearning_requests
from easyedit_unlearn.components import no_progress
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.experiment.resolve import for_model
from easyedit_unlearn.host.running import make_editor, run_edits, undone_after
from easyedit_unlearn.model import forced, inference
from easyedit_unlearn.model.inference import generate_replies
from easyedit_unlearn.model.memories import attached
from easyedit_unlearn.plugins.load import default_plugins

EDITORS = ("ROME", "MEMIT", "AlphaEdit", "GRACE", "WISE", "LUNAR")
METHODS = (*EDITORS, "NPO", "RMU")
FORGET = [
    ForgetSample(id="1", question="What is the capital of Arda?", answer="Minas", subject="Arda"),
    ForgetSample(id="2", question="Who wrote the Silmar?", answer="Tol", subject="Silmar"),
]
RETAIN = [
    ForgetSample(id="3", question="Which river runs by Corvo?", answer="Selka", subject="Corvo", response="Selka."),
    ForgetSample(id="4", question="What is the capital of Bree?", answer="Stad", subject="Bree", response="Stad."),
]
SHORT = {
    "unlearn.native.corpus": "retain", "unlearn.max_new_tokens": 8, "unlearn.prompt": "auto", "unlearn.retain": None,
    "unlearn.answers": "dataset", "unlearn.engine": "native",
}  # fmt: skip
ONCE = {"NPO": {"num_train_epochs": 1, "rounds": 1}, "RMU": {"num_train_epochs": 1, "rounds": 1}}


def expected(name: str, method: str) -> str:
    if name in MIXTURES:
        return "works" if method == "NPO" else "says"
    return "says" if name in NORMED and method == "LUNAR" else "works"


def unlearned(model, method, changes=None):
    """The attainment, with the model as it is afterwards; put back at the end of the block."""
    tokenizer = tiny_tokenizer()
    overrides = {**SHORT, **ONCE.get(method, {}), **(changes or {})}
    hparams = for_model(method, (model, tokenizer), default_plugins(), overrides)
    hparams.model_name = (model, tokenizer)
    weights = copied_weights(model)
    with undone_after(model, hparams, no_progress):
        editor = make_editor(hparams)
        run_edits(editor, unlearning_requests(editor, FORGET, retain=RETAIN), no_progress)
        changed = not same_weights(model, weights) or bool(attached(model))
        found = editor.unlearning_state.get("attainment")
    assert same_weights(model, weights)
    assert not attached(model)
    assert changed
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_method_works_or_says_in_one_line_why_not(name, tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    model = build(name)
    if model is None:
        pytest.skip("not in this transformers")
    for method in METHODS:
        try:
            attainment = unlearned(model, method)
        except UnlearnError as error:
            assert expected(name, method) == "says", f"{method}: {error}"
            assert "\n" not in str(error)
            continue
        assert expected(name, method) == "works", method
        if method in EDITORS:
            assert attainment >= 0.99, method
        else:
            assert attainment is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_editors_in_half_precision(name, dtype, tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    model = build(name, getattr(torch, dtype))
    for method in EDITORS:
        if expected(name, method) == "works":
            assert unlearned(model, method) >= 0.97, method  # weights have three digits there


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_every_method_on_a_cuda_device(name, dtype, tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    model = build(name, getattr(torch, dtype)).to("cuda")
    for method in METHODS:
        if expected(name, method) == "works":
            found = unlearned(model, method)
            assert found is None or found >= 0.97, method


@pytest.mark.cuda
def test_editors_on_a_model_over_two_devices(tmp_path, monkeypatch):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    from accelerate import dispatch_model

    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    model = build("qwen2")
    places = {"model.embed_tokens": 0, "model.norm": 1, "model.rotary_emb": 0, "lm_head": 1}
    model = dispatch_model(model, places | {f"model.layers.{n}": n // 2 for n in range(4)})
    for method in EDITORS:
        assert unlearned(model, method) >= 0.99, method


RAGGED = ["Who?", "What is the name of the river that runs by the old town of Corvo?", "Where is Arda now?"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_prompts_share_changes_no_reply(name, monkeypatch):
    """Padding lies behind what they share: no reply may depend on where."""
    model, tokenizer = build(name), tiny_tokenizer()
    if model is None:
        pytest.skip("this transformers does not have it")
    prompts = ["You are asked by many people, and say what you know of it. " + prompt for prompt in RAGGED]
    found = []
    for long in (8, 10**6):
        monkeypatch.setattr(inference, "LONG", long)
        monkeypatch.setattr(forced, "LONG", long)
        replies = generate_replies(model, tokenizer, prompts, max_new_tokens=5)
        found.append((replies, forced.answer_logprobs(model, tokenizer, [(prompt, "Selka") for prompt in prompts])))
    assert found[0][0] == found[1][0]
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-4)
