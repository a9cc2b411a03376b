"""Commands about what an edit is, apart from its model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.text import Text

from easyedit_unlearn.cli.app import app
from easyedit_unlearn.cli.options import Copy, Delta, Overwrite, Target
from easyedit_unlearn.report.terminal import printable


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="CHECKPOINT|DELTA", help="An unlearned model, or a delta.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where it goes.")],
    kind: Annotated[str, typer.Option("--as", metavar="delta|lora|full", help="What to write.")] = "delta",
    base: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="DIR", help="The model before; by default what the checkpoint's record names."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write an edit as what it is: a delta to put on and take off, an exact LoRA adapter, or a whole checkpoint."""
    from easyedit_unlearn.artefacts import export as command

    with Console(stderr=True).status(Text(f"exporting {printable(str(source))} as {printable(kind)}")):
        done = command.export(source, kind, out, base=base, overwrite=overwrite)
    typer.echo(done)


@app.command()
def apply(delta: Delta, checkpoint: Target, out: Copy = None, overwrite: Overwrite = False) -> None:
    """Put a delta on a checkpoint, whose fingerprint must be that of the model it was made on."""
    from easyedit_unlearn.artefacts import export as command

    typer.echo(command.put_on(delta, checkpoint, out, overwrite=overwrite))


@app.command()
def revert(delta: Delta, checkpoint: Target, out: Copy = None, overwrite: Overwrite = False) -> None:
    """Take a delta off a checkpoint, which is then bitwise the model before."""
    from easyedit_unlearn.artefacts import export as command

    typer.echo(command.put_on(delta, checkpoint, out, undo=True, overwrite=overwrite))
