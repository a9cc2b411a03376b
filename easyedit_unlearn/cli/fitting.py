"""Commands that fit a method's settings to a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.text import Text

from easyedit_unlearn.cli.app import app, interruptible, registered
from easyedit_unlearn.cli.options import Device, DeviceMap, Dtype, Overwrite

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A checkpoint, a Hub name, or 'embedded'.")]
Method = Annotated[str, typer.Option(metavar="NAME", help="A registered method, such as AlphaEdit.")]


@app.command()
def hparams(
    model: Model,
    method: Method,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it here; by default it is printed.")] = None,
    dtype: Dtype = "auto",
    device: Device = None,
    device_map: DeviceMap = None,
    overwrite: Overwrite = False,
) -> None:
    """Derive a method's hparams from a model's structure, with a comment for each derived value."""
    from easyedit_unlearn.cli.unlearn import loaded
    from easyedit_unlearn.config.derive import derived, reference_file
    from easyedit_unlearn.model.load import placed
    from easyedit_unlearn.progress import Bars
    from easyedit_unlearn.storage import check_file, write_text

    plugins = registered()
    reference_file(method, plugins)
    if out is not None:
        check_file(out, overwrite=overwrite)
    with Bars(Console(file=sys.stderr)) as bars:
        pair = loaded(model, bars, placed(device, dtype, device_map))
        text = derived(method, *pair, plugins, model)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_text(out, text)
    typer.echo(f"written: {out}")


@app.command()
def tune(
    model: Model,
    method: Method,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The best settings, as YAML; a journal lies beside it.")],
    trials: Annotated[
        int, typer.Option(min=1, help="In all, with those of an earlier call that wrote the journal.")
    ] = 20,
    seconds: Annotated[Optional[float], typer.Option(min=1, help="No trial begins after so many.")] = None,  # noqa: UP045
    facts: Annotated[int, typer.Option(min=1, help="To forget in a trial.")] = 20,
    dtype: Dtype = "auto",
    device: Device = None,
    device_map: DeviceMap = None,
    overwrite: Overwrite = False,
) -> None:
    """Search a method's settings for a model on the bundled facts, and write the best."""
    from easyedit_unlearn.cli.unlearn import loaded
    from easyedit_unlearn.config.derive import reference_file
    from easyedit_unlearn.experiment.tuning import TuneSettings, require_optuna
    from easyedit_unlearn.experiment.tuning import tune as search
    from easyedit_unlearn.model.load import placed
    from easyedit_unlearn.progress import Bars
    from easyedit_unlearn.storage import check_file

    plugins = registered()
    require_optuna()
    reference_file(method, plugins)
    check_file(out, overwrite=overwrite)
    console = Console(file=sys.stderr)
    with interruptible(out), Bars(console) as bars:
        pair = loaded(model, bars, placed(device, dtype, device_map))
        row = search(
            pair, method, out, TuneSettings(trials, seconds, facts), label=model, plugins=plugins,
            tell=lambda line: console.print(Text(line), soft_wrap=True), progress=bars.progress,
        )  # fmt: skip
    typer.echo(f"written: {out} (balance {row.get('balance') or 0:.0%})")
