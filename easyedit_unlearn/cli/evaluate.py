"""``evaluate``: every number about a checkpoint as it stands, whoever made it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from easyedit_unlearn.cli.unlearn import label_of
from easyedit_unlearn.components import Progress
from easyedit_unlearn.errors import OutputExistsError
from easyedit_unlearn.evaluation.abilities import known_tasks
from easyedit_unlearn.evaluation.reference import read_log
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.evaluate import evaluate
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.checkpoint import recorded_knowledge, system_prompt_of
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.model.processes import Process, together
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.report.pages import FILES, write_report
from easyedit_unlearn.report.table import table_columns
from easyedit_unlearn.report.terminal import print_metrics, print_probes, print_report
from easyedit_unlearn.results import Results
from easyedit_unlearn.storage import prepare_output

NOT_RECORDED = (
    "note: which facts count is asked of this very model. If it was unlearned, name the model it came from with "
    "--reference, or facts it has forgotten will not be counted."
)


def evaluate_command(
    model: str, config: EvalConfig, out: Path | None, *, reference: str | None, overwrite: bool, plugins: Plugins,
    command: str, where: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """One row for a checkpoint as it stands, and every metric on every group.

    The sets are cut by what the model knew before it was unlearned: from the checkpoint's own record, which ``run``
    writes beside it, or by asking ``reference``. With neither, the checkpoint itself is config, and a note says so.
    """
    config.sources(plugins)  # what cannot be read is told before a model is loaded
    if config.lm_eval:
        known_tasks(config.lm_eval)
    if config.retain_log is not None:
        read_log(config.retain_log)
    if config.as_reference is not None and config.as_reference.exists() and not overwrite:
        raise OutputExistsError(f"{config.as_reference} is there already; --overwrite replaces it")
    if config.as_reference is not None and config.as_reference.exists():
        read_log(config.as_reference)  # whatever else is there is not ours to replace
    with together() as here:
        if out is not None and here.main:
            prepare_output(out, overwrite=overwrite, names=FILES)
        console = Console(file=sys.stderr, quiet=not here.main)
        with Bars(console) as bars:
            results = _evaluated(model, config, reference, plugins, bars.progress, console, here, where or {})
        results.command = command
        if not here.main:
            return
    if out is not None:
        write_report(results, out, plugins.metrics)
    console = Console(file=sys.stdout)
    print_report(console, results, table_columns(plugins.metrics))
    print_metrics(console, results.rows[-1], plugins.metrics)
    print_probes(console, results.rows[-1])


def _evaluated(
    model: str, config: EvalConfig, reference: str | None, plugins: Plugins, progress: Progress, console: Console,
    here: Process, where: Mapping[str, Any],
) -> Results:  # fmt: skip
    where = dict(where) | ({"device": here.device} if here.count > 1 else {})
    known, replies = recorded_knowledge(Path(model)), None
    if reference is not None:
        pair = load_model(reference, **where)
        before = Run(pair, config, label=label_of(reference), plugins=plugins, progress=progress)
        before.select(must_know=False)
        known, replies = before.knowledge.known, before.knowledge.replies
    elif known is None and config.as_reference is None:
        console.print(Text(NOT_RECORDED, style="yellow"), soft_wrap=True)
    return evaluate(
        *load_model(model, **where), config, known=known, replies=replies, system_prompt=system_prompt_of(Path(model)),
        label=label_of(model), plugins=plugins, progress=progress,
    )  # fmt: skip
