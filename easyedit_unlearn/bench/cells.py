"""Run one cell: the whole pipeline, from a model to a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easyedit_unlearn.bench.grid import Cell
from easyedit_unlearn.components import Stage, no_progress
from easyedit_unlearn.errors import DivergenceError, UnlearnError

Outcome = dict[str, Any]
"""``status`` ("done" or "failed"), and ``row``, ``before`` and ``samples``, or ``error``."""


def run_cell(cell: Cell, model: str | None = None, stage: Stage = no_progress) -> Outcome:
    """``model``: the folder of what the cell's model was taught, where it was. A failure is an outcome too, told in
    one line; nothing but an interrupt is raised."""
    try:
        return _run(cell, model or cell.model, stage)
    except UnlearnError as error:
        return failed(str(error))
    except Exception as error:  # one cell's fault must not cost the others
        return failed(f"{type(error).__name__}: {error}")


def failed(why: str) -> Outcome:
    return {"status": "failed", "error": " ".join(why.split())}


def taught(cell: Cell, folder: Path) -> None:
    """Teach the cell's model what it says, into ``folder``; what is there already stays. Raises UnlearnError."""
    from easyedit_unlearn import finetuning
    from easyedit_unlearn.plugins import load_plugins

    settings = finetuning.FinetuneSettings()
    finetuning.command(
        cell.model, cell.finetune, folder, settings, overwrite=True, style="auto", plugins=load_plugins()
    )


def _run(cell: Cell, model: str, stage: Stage) -> Outcome:
    from easyedit_unlearn.checkpoints import further_groups
    from easyedit_unlearn.commands import sources
    from easyedit_unlearn.evaluation.probes import Probing
    from easyedit_unlearn.hparams import UnlearnHyperParams
    from easyedit_unlearn.models import load_model, placement
    from easyedit_unlearn.pipeline import Run
    from easyedit_unlearn.plugins import load_plugins

    plugins = load_plugins()
    hparams = UnlearnHyperParams.from_hparams(cell.hparams, plugins=plugins, overrides=cell.overrides)
    settings, sets = hparams.unlearn, cell.sets
    forget, retain, holdout = sources((sets.forget, sets.retain, sets.holdout), [hparams], plugins)
    stage("loading the model", 1)(1)
    run = Run(
        load_model(model, **placement(hparams)), cell.label, style=settings.prompt, plugins=plugins, stage=stage,
        max_new_tokens=settings.max_new_tokens, probing=Probing(cell.attacks, cell.depth), remember=True,
    )  # fmt: skip
    run.select(forget, retain, holdout, others=further_groups(sets.also, plugins))
    run.evaluate_before()
    try:
        with run.unlearned(hparams):
            pass
    except DivergenceError as error:
        run.stopped(hparams, error)
    about: Mapping[str, Any] = {"setting": cell.setting, "seed": cell.seed, "model": cell.label}
    row = {**run.results.rows[-1], **about}
    return {
        "status": "done", "row": row, "before": {**(run.results.before or {}), **about},
        "samples": [record | {"setting": cell.setting} for record in run.results.samples],
    }  # fmt: skip
