"""``run --dry-run``: what would be done, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.plan import check_before, planned
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.report.pages import FILES
from easyedit_unlearn.report.terminal import print_rows, short
from easyedit_unlearn.storage import check_output

SHOWN = 20


def show_plan(
    hparams: UnlearnHyperParams,
    config: EvalConfig,
    plugins: Plugins,
    model: Any,
    out: Path,
    *,
    overwrite: bool,
    derived: bool,
) -> None:
    """Raises whatever would stop the run before its work."""
    found = check_before([hparams], config, plugins, out=out, model=model, derived=derived)
    check_output(out, overwrite=overwrite, names=(*FILES, "model", "adapter"))
    plan, console = planned(hparams, config, plugins, found, model, out), Console()
    print_rows(console, "what would be done", ("", ""), plan.facts)
    rows = [tuple(map(short, one)) for one in plan.samples[:SHOWN]]
    print_rows(console, "to be forgotten, where the model knows it", ("question", "subject", "refusal"), rows)
    if len(plan.samples) > SHOWN:
        console.print(Text(f"and {len(plan.samples) - SHOWN} more"))
    console.print(Text("nothing was loaded or written; leave --dry-run out to do it"))
