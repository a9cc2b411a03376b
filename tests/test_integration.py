"""The real embedded model, through the real BaseEditor: forgets a fact it knew, and gets it back bitwise."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.host, pytest.mark.timeout(900)]
torch = pytest.importorskip("torch")

from conftest import copied_weights, same_weights

from easyedit_unlearn import UnlearnHyperParams, embedded_model
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.checkpoint import save_checkpoint
from easyedit_unlearn.model.load import load_model


@pytest.mark.filterwarnings("default")
def test_rome_forgets_what_the_model_knew(tmp_path):
    model, tokenizer = embedded_model()
    weights = copied_weights(model)
    hparams = UnlearnHyperParams.from_hparams("ROME/smollm2-135m")
    hparams.context_template_length_params = []  # one context in place of eleven, for time
    run = Run((model, tokenizer), EvalConfig("facts:forget1", "facts:retain5", "facts:holdout5"))
    run.select()
    with run.unlearned(hparams) as unlearned:
        assert not same_weights(unlearned, weights)
        save_checkpoint(unlearned, tokenizer, tmp_path / "unlearned-llama")
        edited = copied_weights(unlearned)
    assert same_weights(model, weights)
    assert same_weights(load_model(tmp_path / "unlearned-llama")[0], edited)
    (row,) = run.results.rows
    assert run.results.before["forget_answer_rate"] == 1.0
    assert (row["forget_answer_rate"], row["forget_refusal_rate"]) == (0.0, 1.0)
    assert row["holdout_answer_rate"] >= 0.6  # one edit leaves most neighbours alone
