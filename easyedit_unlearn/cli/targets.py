"""``targets``: the refusals that facts would be edited to, and how good they are."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.evaluation.refusal_quality import Judge, load_encoder, refusal_quality, summary
from easyedit_unlearn.experiment.alike import with_groups
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.requests import build_targets
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.experiment.subjects import with_subjects
from easyedit_unlearn.model.load import load_model, placement
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.report.terminal import print_refusals
from easyedit_unlearn.storage import json_text, prepare_output, write_outputs


def targets_command(
    hparams: UnlearnHyperParams, forget: str, model: Any, out: Path | None, *, overwrite: bool, plugins: Plugins,
    encoder: str | None, judge: Judge | None,
) -> None:  # fmt: skip
    """Build the refusals and score them, without unlearning anything."""
    config = EvalConfig(forget, prompt=hparams.unlearn.prompt)
    config.sources(plugins)
    scorer = load_encoder(encoder) if encoder else None
    if out is not None:
        prepare_output(out, overwrite=overwrite, names=["refusals.json"])
    with Bars(Console(file=sys.stderr)) as bars:
        pair = load_model(model, **placement(hparams))
        samples = Run(pair, config, plugins=plugins, progress=bars.progress).select().forget
        samples = with_subjects(*pair, samples, hparams, bars.progress)
        hparams = with_groups(*pair, samples, hparams)
        built = build_targets(samples, hparams.unlearn, *pair, progress=bars.progress)
        rows = refusal_quality(samples, built, *pair, encoder=scorer, judge=judge)
    if out is not None:
        text = json_text({"summary": summary(rows), "refusals": [asdict(row) for row in rows]})
        write_outputs(out, {"refusals.json": text.encode("utf-8")})
    print_refusals(Console(file=sys.stdout), rows, summary(rows))
