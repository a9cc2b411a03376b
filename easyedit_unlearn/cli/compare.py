"""``compare``: several runs, or several checkpoints asked the same, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from easyedit_unlearn.cli.evaluate import NOT_RECORDED
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.experiment.comparing import asked_alike, folders_or_models, side_by_side
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.model.checkpoint import recorded_knowledge
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.report.compare import comparison_cells
from easyedit_unlearn.report.markdown import PAIRS
from easyedit_unlearn.report.pages import FILES, write_report
from easyedit_unlearn.report.table import all_rows, table_columns
from easyedit_unlearn.report.terminal import print_report, print_rows
from easyedit_unlearn.results import Results
from easyedit_unlearn.storage import check_output, prepare_output


def compare_command(
    folders: Sequence[str], config: EvalConfig | None, out: Path | None, *, reference: str | None, overwrite: bool,
    plugins: Plugins, command: str, where: Mapping[str, Any],
) -> None:  # fmt: skip
    """``config``: what checkpoints are asked; runs stand as they are."""
    results, models = folders_or_models(folders)
    if len(folders) < 2:
        raise UnlearnError("compare takes two folders or more")
    if results and config is not None:
        raise UnlearnError("runs stand as they were asked: --forget is for checkpoints")
    if models and config is None:
        raise UnlearnError("checkpoints are asked anew: name what, e.g. --forget facts:forget5")
    if out is not None:
        check_output(out, overwrite=overwrite, names=FILES, inputs=folders)
        prepare_output(out, overwrite=overwrite, names=FILES)
    found = side_by_side(results) if config is None else _asked(models, config, reference, plugins, where)
    found.command = command
    console = Console()
    print_report(console, found, table_columns(plugins.metrics))
    if pairs := comparison_cells(all_rows(found), found.samples):
        title = "in pairs, on the same prompts (points; * without zero)"
        print_rows(console, title, PAIRS[:-1], [pair[:-1] for pair in pairs])
    if out is not None:
        write_report(found, out, plugins.metrics)


def _asked(
    models: Sequence[str], config: EvalConfig, reference: str | None, plugins: Plugins, where: Mapping[str, Any]
) -> Results:
    told = Console(stderr=True)
    config.sources(plugins)
    if reference is None and all(recorded_knowledge(Path(model)) is None for model in models):
        told.print(Text(NOT_RECORDED, style="yellow"), soft_wrap=True)
    with Bars(told) as bars:
        return asked_alike(models, config, reference=reference, plugins=plugins, where=where, progress=bars.progress)
