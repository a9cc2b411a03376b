"""What the methods compute is what they computed: logits after each of them, as ``goldens/`` has them.

The restructuring that these guard was bitwise neutral on one machine. Rounding on another processor moves the tiny
models' logits by up to 4e-4, so the test allows 2e-3, where an edit moves them by tenths.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.host, pytest.mark.filterwarnings("default")]
torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parent / "goldens"))
import cases
from safetensors.torch import load_file

from easyedit_unlearn import EvalConfig, UnlearnHyperParams
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.load import load_model

ROWS = Path(__file__).parent / "goldens" / "rows.json"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", sorted(load_file(cases.TINY)))
def test_a_tiny_model_says_what_it_said(name, tmp_path):
    found, expected = cases.tiny_cases(tmp_path)[name](), load_file(cases.TINY)[name]
    assert torch.allclose(found, expected, rtol=0, atol=2e-3), float((found - expected).abs().max())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_every_golden_is_of_an_edit_that_did_something(family):
    untouched = cases.ends(*cases.tiny(family), cases.SAMPLES, "auto")
    for name, logits in load_file(cases.TINY).items():
        if name.startswith(family):
            assert (logits - untouched).abs().max() > 0.05, name


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(load_file(cases.EMBEDDED)))
def test_the_embedded_model_says_what_it_said(name, tmp_path, monkeypatch):
    monkeypatch.delenv("EASYEDIT_UNLEARN_CACHE")  # where the model lies, converted
    found, expected = cases.embedded_cases(tmp_path)[name](), load_file(cases.EMBEDDED)[name]
    assert torch.allclose(found, expected, rtol=0, atol=0.1), float((found - expected).abs().max())


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(1200)
@pytest.mark.skipif("EASYEDIT_UNLEARN_DATA" not in os.environ, reason="needs the data directory")
@pytest.mark.parametrize("method", ["AlphaEdit", "WISE"])
def test_five_facts_of_pretraining_count_as_they_did(method, monkeypatch):
    """Counts are the same; probabilities were equal to 1e-6 on one machine, and are near on another."""
    monkeypatch.delenv("EASYEDIT_UNLEARN_CACHE")
    exact = {"unlearn.native.products": "float32"}  # on any machine
    hparams = UnlearnHyperParams.from_hparams(f"{method}/smollm2-135m", overrides=exact)
    config = EvalConfig.for_methods([hparams], "factual:forget5", "factual:retain", holdout="factual:holdout")
    run = Run(load_model("embedded"), config, label="SmolLM2-135M-Instruct")
    run.select()
    with run.unlearned(hparams):
        rows = {"before": run.results.before, "after": run.results.rows[0]}
    for state, expected in json.loads(ROWS.read_text())[method].items():
        counts = [name for name in expected if name.startswith("n_") or name.endswith(("answer_rate", "refusal_rate"))]
        assert {name: rows[state][name] for name in counts} == pytest.approx({name: expected[name] for name in counts})
        others = {name: rows[state][name] for name in expected if name not in counts}
        assert others == pytest.approx({name: expected[name] for name in others}, abs=0.05)
