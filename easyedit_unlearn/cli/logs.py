"""Commands that exchange per-sample logs with open-unlearning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from easyedit_unlearn.cli.app import app, command_line, registered
from easyedit_unlearn.cli.options import Overwrite


@app.command("import-logs")
def import_logs(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]FILE|DIR...", help="Logs of open-unlearning's (TOFU_EVAL.json), and folders of ours."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the table and its pages go.")],
    retain_log: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="The log of a model that never saw the forget set."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """One table of what open-unlearning logged, its replies judged anew, and of what was measured here."""
    from easyedit_unlearn.evaluation.openunlearning import read_logs, scores_from
    from easyedit_unlearn.experiment.logs import imported
    from easyedit_unlearn.report.pages import FILES, write_report
    from easyedit_unlearn.report.table import table_columns
    from easyedit_unlearn.report.terminal import print_metrics, print_report
    from easyedit_unlearn.storage import prepare_output

    metrics = list(registered().metrics)
    reference = None if retain_log is None else scores_from(read_logs(retain_log))
    results = imported([_named(source) for source in sources], metrics, reference)
    results.command = command_line()
    prepare_output(out, overwrite=overwrite, names=FILES)
    write_report(results, out, metrics)
    console = Console()
    print_report(console, results, table_columns(metrics))
    for row in results.rows:
        print_metrics(console, row, metrics)


@app.command("export-logs")
def export_logs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What run, evaluate or bench wrote.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Such as TOFU_EVAL.json.")],
    label: Annotated[Optional[str], typer.Option(metavar="NAME", help="Which row, where there are several.")] = None,  # noqa: UP045
    setting: Annotated[Optional[str], typer.Option(metavar="NAME", help="Of which of a bench's settings.")] = None,  # noqa: UP045
    overwrite: Overwrite = False,
) -> None:
    """Write a row's samples as open-unlearning logs them, for its own comparisons (retain_logs_path)."""
    from easyedit_unlearn.errors import OutputExistsError
    from easyedit_unlearn.evaluation.openunlearning import read_logs
    from easyedit_unlearn.experiment.logs import exported
    from easyedit_unlearn.storage import write_json

    if out.exists() and not overwrite:
        raise OutputExistsError(f"{out} is there already; --overwrite replaces it")
    if out.exists():
        read_logs(out)  # whatever else is there is not ours to replace
    logs = exported(folder, label, setting)
    write_json(out, logs)
    typer.echo(f"{out}: {', '.join(sorted(logs))}")


def _named(source: str) -> tuple[str, Path]:
    """A log that is not named is called as the folder of its model: they lie in NAME/evals/TOFU_EVAL.json."""
    name, equals, path = source.partition("=")
    if equals and not Path(source).exists():
        return name, Path(path)
    folder = Path(source).resolve().parent
    return (folder.parent.name if folder.name == "evals" else folder.name) or Path(source).stem, Path(source)
