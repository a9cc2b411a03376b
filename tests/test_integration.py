"""The real embedded model, through the real BaseEditor: forgets a fact it knew, and gets it back bitwise."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.host, pytest.mark.timeout(900)]
torch = pytest.importorskip("torch")

from conftest import copied_weights, same_weights  # noqa: E402

from easyedit_unlearn import UnlearnHyperParams, embedded_model  # noqa: E402
from easyedit_unlearn.models import load_model, save_checkpoint  # noqa: E402
from easyedit_unlearn.pipeline import Run  # noqa: E402
from easyedit_unlearn.plugins import default_plugins  # noqa: E402
from easyedit_unlearn.tasks.splits import parse_source  # noqa: E402


@pytest.mark.filterwarnings("default")
def test_rome_forgets_what_the_model_knew(tmp_path):
    model, tokenizer = embedded_model()
    weights = copied_weights(model)
    hparams = UnlearnHyperParams.from_hparams("ROME/smollm2-135m")
    hparams.context_template_length_params = [[5, 5]]  # fewer templates, for time
    run = Run((model, tokenizer), "embedded")
    tasks = default_plugins().tasks
    run.select(*(parse_source(f"facts:{split}", tasks) for split in ("forget1", "retain5", "holdout5")))
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
