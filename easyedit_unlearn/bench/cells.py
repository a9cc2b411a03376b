"""Run one cell: the whole flow, from a model to its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from easyedit_unlearn.bench.grid import Cell
from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.errors import DivergenceError, UnlearnError
from easyedit_unlearn.evaluation.questions import questions_of
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.finetune import FinetuneSettings, finetuned_checkpoint
from easyedit_unlearn.experiment.resolve import for_model, read_hparams
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.load import load_model, placement
from easyedit_unlearn.plugins.load import load_plugins
from easyedit_unlearn.results import Row, row_of

Outcome = dict[str, Any]
"""``status`` ("done" or "failed"), and ``rows``, ``before`` and ``samples``, or ``error``."""


def run_cell(cell: Cell, model: str | None = None, progress: Progress = no_progress) -> Outcome:
    """``model``: the folder of what the cell's model was taught, where it was. A failure is an outcome too, told in
    one line; nothing but an interrupt is raised."""
    try:
        return _run(cell, model or cell.model, progress)
    except UnlearnError as error:
        return failed(str(error))
    except Exception as error:  # one cell's fault must not cost the others
        return failed(f"{type(error).__name__}: {error}")


def failed(why: str) -> Outcome:
    return {"status": "failed", "error": " ".join(why.split())}


def teach(cell: Cell, folder: Path, progress: Progress = no_progress) -> None:
    """Teach the cell's model what it says, into ``folder``; what is there already stays. Raises UnlearnError."""
    settings = FinetuneSettings(cell.learning_rate, rank=cell.rank)
    finetuned_checkpoint(
        cell.model, cell.finetune, folder, settings, overwrite=True, style="auto", plugins=load_plugins(),
        progress=progress,
    )  # fmt: skip


def _run(cell: Cell, model: str, progress: Progress) -> Outcome:
    plugins = load_plugins()
    hparams = read_hparams(cell.hparams, plugins, cell.overrides)
    config = EvalConfig.for_methods(
        [hparams], cell.sets.forget, cell.sets.retain, holdout=cell.sets.holdout, also=cell.sets.also,
        attacks=cell.attacks, depth=cell.depth,
    )  # fmt: skip
    progress("loading the model", 1)(1)
    pair = load_model(model, **placement(hparams))
    hparams = for_model(cell.hparams, pair, plugins, cell.overrides)
    run = Run(pair, config, label=cell.label, plugins=plugins, progress=progress)
    run.select()
    run.check(hparams)
    run.evaluate_before()
    try:
        if cell.sizes:
            list(run.growing(hparams, cell.sizes))
        else:
            with run.unlearned(hparams):
                pass
    except DivergenceError as error:
        run.stopped(hparams, error)
    about: Row = {"setting": cell.setting, "seed": cell.seed}
    rows = [row_of(row, about, {"setting": cell.setting_at(row["n_forget"])}) for row in run.results.rows]
    # of a growing set, the samples are those of its end
    samples = run.results.samples[-sum(row["n_forget"] == cell.size for row in rows) * _asked(run) :]
    return {
        "status": "done", "rows": rows, "before": row_of(run.results.before or {}, about),
        "samples": [record | {"setting": cell.setting} for record in samples],
    }  # fmt: skip


def _asked(run: Run) -> int:
    """How many prompts a whole evaluation has."""
    return len(questions_of(run.selection))
