"""Hparams from a model's structure, and their search."""

from __future__ import annotations

import sys

import pytest

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("default")]
torch = pytest.importorskip("torch")

import yaml
from architectures import build
from conftest import tiny_llama, tiny_tokenizer
from typer.testing import CliRunner

from easyedit_unlearn import Method, UnlearnHyperParams, hookimpl
from easyedit_unlearn.baselines.settings import WeightedHyperParams
from easyedit_unlearn.cli.app import app
from easyedit_unlearn.config.derive import derived, hparams_name, reference_file
from easyedit_unlearn.errors import ConfigError, UnlearnError
from easyedit_unlearn.experiment import tuning
from easyedit_unlearn.experiment.rows import advice
from easyedit_unlearn.experiment.space import search_space
from easyedit_unlearn.model.structure import layer_names
from easyedit_unlearn.plugins.load import default_plugins, load_plugins
from easyedit_unlearn.report.table import note_lines
from easyedit_unlearn.results import Row, row_of

PLUGINS = default_plugins()


def derived_values(name, method):
    text = derived(method, build(name), tiny_tokenizer(), PLUGINS)
    return text, yaml.safe_load(text)


def test_modules_come_from_structure_and_layers_from_depth():
    text, values = derived_values("gpt-neox", "AlphaEdit")
    assert values["rewrite_module_tmp"] == "gpt_neox.layers.{}.mlp.dense_4h_to_h"
    assert values["layer_module_tmp"] == "gpt_neox.layers.{}"
    assert values["mlp_module_tmp"] == "gpt_neox.layers.{}.mlp"
    assert values["attn_module_tmp"] == "gpt_neox.layers.{}.attention"
    assert values["ln_f_module"] == "gpt_neox.final_layer_norm"
    assert values["layers"] == [0, 1]  # 5 to 9 of 30, of four
    assert values["unlearn"]["native"]["null_space_dimensions"] == round(1000 / 1536 * 128)
    assert values["unlearn"]["prompt"] == "auto"
    assert "# derived: the same relative depth" in text
    assert "derived from AlphaEdit/smollm2-135m.yaml" in text


def test_where_a_norm_follows_the_mlp_one_layer_is_edited():
    text, values = derived_values("gemma3", "MEMIT")
    assert len(values["layers"]) == 1
    assert "a norm lies between" in text


def test_every_method_has_hparams_on_any_decoder_and_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    model, tokenizer = build("qwen3"), tiny_tokenizer()
    for method in PLUGINS.methods.names:
        name = hparams_name(method, model, tokenizer, PLUGINS)
        hparams = UnlearnHyperParams.from_hparams(name, plugins=PLUGINS)
        assert hparams.engine == "native", method  # whose attainment is measured
        for layer in getattr(hparams, "layers", None) or ():
            assert layer < len(layer_names(model))


def test_steps_are_in_proportion_to_the_models_own_numbers():
    rates = []
    for factor in (1.0, 3.0):
        model = tiny_llama()
        with torch.no_grad():
            model.model.embed_tokens.weight *= factor  # the stream, of which the embeddings are most here
            for layer in model.model.layers:
                layer.mlp.down_proj.weight *= factor
                layer.self_attn.o_proj.weight *= factor
        rates.append(yaml.safe_load(derived("GRACE", model, tiny_tokenizer(), PLUGINS))["edit_lr"])
    assert rates[1] / rates[0] == pytest.approx(3.0, rel=0.05)


class Descent(Method):
    """A plugin's: no file is shipped for it."""

    name, HyperParams = "Descent", WeightedHyperParams


@hookimpl
def easyedit_unlearn_methods():
    return [Descent()]


def test_a_plugins_method_has_its_defaults(tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    plugins = load_plugins([("descent", sys.modules[__name__])], use_entry_points=False)
    assert derived("Descent", build("llama"), tiny_tokenizer(), plugins).startswith("# The defaults of Descent.")
    name = hparams_name("Descent", build("llama"), tiny_tokenizer(), plugins)
    assert UnlearnHyperParams.from_hparams(name, plugins=plugins).learning_rate == 1e-5


def test_an_unknown_method_is_told_with_the_one_that_was_meant():
    with pytest.raises(ConfigError, match="Did you mean 'AlphaEdit'"):
        reference_file("AlfaEdit", PLUGINS)


def test_hparams_writes_a_file_that_run_takes(tmp_path):
    model = tmp_path / "mine"
    tiny_llama().save_pretrained(model)
    tiny_tokenizer().save_pretrained(model)
    out = tmp_path / "my.yaml"
    done = CliRunner().invoke(app, ["hparams", str(model), "--method", "GRACE", "--out", str(out)])
    assert done.exit_code == 0, done.output
    hparams = UnlearnHyperParams.from_hparams(out)
    assert hparams.model_name == str(model)
    again = CliRunner().invoke(app, ["hparams", str(model), "--method", "GRACE", "--out", str(out)])
    assert isinstance(again.exception, UnlearnError)
    assert "--overwrite" in str(again.exception)


# ---------------------------------------------------------------- search


def test_what_is_searched_is_what_the_method_has():
    _, values = derived_values("llama", "AlphaEdit")
    space = search_space(values, build("llama"))
    assert {"last_layer", "v_lr", "clamp_norm_factor", "L2", "null_space_dimensions"} <= set(space)
    assert space["last_layer"].sets(3.2) == {"layers": [2, 3]}
    assert space["null_space_dimensions"].sets(57.4) == {"unlearn.native.null_space_dimensions": 57}
    for choice in space.values():
        assert choice.low <= choice.start <= choice.high
    _, values = derived_values("llama", "WISE")
    assert search_space(values, build("llama"))["layer"].sets(2) == {
        "inner_params": ["model.layers[2].mlp.down_proj.weight"]
    }
    _, values = derived_values("llama", "NPO")
    assert {"learning_rate", "alpha", "beta", "last_layer"} <= set(search_space(values, build("llama")))


def test_a_search_keeps_the_best_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path / "cache"))
    tried = []

    class Fake:
        config = None

    def row(_self, _run, given) -> Row:
        tried.append(given)
        balance = 1 / (1 + abs(given["clamp_norm_factor"] - 2))
        return row_of({"forget_forgotten_rate": balance, "n_known": 5, "forget_answer_rate": 0.2, "ppl_after": 3.0})

    monkeypatch.setattr(tuning._Trying, "_row", row)
    monkeypatch.setattr(tuning._Trying, "_stages", lambda self: self._runs or self._runs.append(Fake()) or self._runs)
    pair, lines, out = (build("llama"), tiny_tokenizer()), [], tmp_path / "best.yaml"

    def search(trials):
        return tuning.tune(
            pair, "MEMIT", out, tuning.TuneSettings(trials), label="mine", plugins=PLUGINS, tell=lines.append
        )

    first = search(5)
    assert len(tried) == len(lines) == 5
    assert tried[0]["clamp_norm_factor"] == 3  # the derived file itself comes first
    best = search(8)
    assert len(tried) == 8
    assert best["balance"] >= first["balance"]
    best_given = min(tried, key=lambda given: abs(given["clamp_norm_factor"] - 2))
    written = yaml.safe_load(out.read_text())
    assert written["clamp_norm_factor"] == best_given["clamp_norm_factor"]
    assert "the best of 8 trials" in out.read_text()
    assert UnlearnHyperParams.from_hparams(out).alg_name == "MEMIT"


def test_a_run_that_left_most_of_the_facts_names_the_next_step():
    hparams = UnlearnHyperParams.from_hparams("GRACE/smollm2-135m")
    row = row_of({"label": "GRACE", "n_forget": 10, "n_known": 10, "forget_answer_rate": 0.6})
    said = advice(row, hparams)["advice"]
    assert said.startswith("6 of 10 known facts are still given")
    assert "`easyedit-unlearn tune MODEL --method GRACE`, or try AlphaEdit or WISE" in said
    assert note_lines([row_of(row, {"advice": said}), row]) == [f"GRACE: {said}"]
    assert advice(row_of(row, {"forget_answer_rate": 0.5}), hparams) == {}
