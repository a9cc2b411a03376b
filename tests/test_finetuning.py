"""Teaching a model what it is then to forget."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import FACTS, copied_weights, same_weights, tiny_llama, tiny_tokenizer

from easyedit_unlearn import ForgetSample
from easyedit_unlearn.errors import ConfigError, DivergenceError, OutputExistsError, UnlearnError
from easyedit_unlearn.experiment.finetune import FinetuneSettings, finetune, finetuned_checkpoint
from easyedit_unlearn.model.checkpoint import save_checkpoint
from easyedit_unlearn.model.forced import answer_logprobs
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.plugins.load import default_plugins

QUICK = FinetuneSettings(learning_rate=1e-2, epochs=20, rounds=4)


def test_a_model_learns_what_it_is_taught():
    pair = tiny_llama(hidden=64), tiny_tokenizer()
    samples = [ForgetSample(id=q, question=q, answer=a) for q, a, _ in FACTS]
    answered = finetune(pair, samples, QUICK)
    assert sum(answered) >= 0.8 * len(FACTS)
    assert not pair[0].training


def test_adapters_teach_as_well_and_become_the_weights(facts_file, tmp_path):
    pytest.importorskip("peft")
    pair = tiny_llama(hidden=64), tiny_tokenizer()
    weights, names = copied_weights(pair[0]), {name for name, _ in pair[0].named_parameters()}
    samples = [ForgetSample(id=q, question=q, answer=a) for q, a, _ in FACTS]
    pairs = [(format_prompt(pair[1], sample.question), sample.answer) for sample in samples]
    before = sum(answer_logprobs(*pair, pairs))
    finetune(pair, samples, replace(QUICK, rank=8, learning_rate=3e-2, rounds=1))
    assert sum(answer_logprobs(*pair, pairs)) > before + 1  # a random stream that does not learn holds it back
    assert {name for name, _ in pair[0].named_parameters()} == names
    changed = {name for name, parameter in pair[0].named_parameters() if not torch.equal(parameter, weights[name])}
    assert changed and all("proj" in name for name in changed)
    with pytest.raises(ConfigError, match="rank"):
        FinetuneSettings(rank=-1)


def test_a_failure_leaves_the_model_as_it_was():
    pair = tiny_llama(hidden=64), tiny_tokenizer()
    weights = copied_weights(pair[0])
    with pytest.raises(DivergenceError):
        finetune(pair, [ForgetSample(id="1", question="Who?", answer="I")], FinetuneSettings(learning_rate=1e30))
    assert same_weights(pair[0], weights)


def test_the_command_writes_a_checkpoint_once(facts_file, tmp_path):
    base, out = tmp_path / "base", tmp_path / "out"
    save_checkpoint(tiny_llama(hidden=64), tiny_tokenizer(), base)
    settings = {"overwrite": False, "style": "auto", "plugins": default_plugins()}
    said = finetuned_checkpoint(str(base), [f"{facts_file}:first4"], out, QUICK, **settings)
    assert "checkpoint for --model" in said
    record = json.loads((out / "finetuned.json").read_text())
    assert (record["of"], record["data"]) == (4, [f"{facts_file}:first4"])
    assert not any(out.glob("model"))
    load_model(out)
    before = (out / "model.safetensors").stat().st_mtime_ns
    assert "already" in finetuned_checkpoint(str(base), [f"{facts_file}:first4"], out, QUICK, **settings)
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(OutputExistsError, match="--overwrite"):
        finetuned_checkpoint(str(base), [f"{facts_file}:first3"], out, QUICK, **settings)
    with pytest.raises(ConfigError, match="firstN"):
        finetuned_checkpoint(str(base), [f"{facts_file}:retain"], tmp_path / "new", QUICK, **settings)


def test_too_little_learned_is_an_error_and_writes_nothing(facts_file, tmp_path):
    save_checkpoint(tiny_llama(hidden=64), tiny_tokenizer(), tmp_path / "base")
    settings = FinetuneSettings(learning_rate=1e-9, epochs=1, rounds=1)
    with pytest.raises(UnlearnError, match="answers only 0 of"):
        finetuned_checkpoint(
            str(tmp_path / "base"), [str(facts_file)], tmp_path / "out", settings, overwrite=False, style="auto",
            plugins=default_plugins(),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["learning_rate", "epochs", "rounds", "until"])
def test_settings_out_of_range(key):
    with pytest.raises(ConfigError, match=key):
        FinetuneSettings(**{key: 0})
