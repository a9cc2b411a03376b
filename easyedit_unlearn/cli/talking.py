"""Commands for a look: a table of several runs, and a talk with a model as it was and is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.text import Text

from easyedit_unlearn.cli.app import app, command_line, registered
from easyedit_unlearn.cli.options import Device, Dtype, Holdout, OptionalOut, Overwrite, Retain


@app.command()
def compare(
    folders: Annotated[
        list[str], typer.Argument(metavar="DIR DIR...", help="What run or bench wrote, or checkpoints.")
    ],
    forget: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="TASK[:SPLIT]|FILE", help="Of checkpoints: what they are asked."),
    ] = None,
    retain: Retain = None,
    holdout: Holdout = None,
    reference: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="DIR", help="The model before unlearning: it says which facts were known."),
    ] = None,
    out: OptionalOut = None,
    dtype: Dtype = "auto",
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """One table of several runs or checkpoints on the same prompts, and their differences in pairs."""
    from easyedit_unlearn.cli.compare import compare_command
    from easyedit_unlearn.experiment.config import EvalConfig
    from easyedit_unlearn.model.load import placed

    config = None if forget is None else EvalConfig(forget, retain, holdout)
    compare_command(
        folders, config, out, reference=reference, overwrite=overwrite, plugins=registered(), command=command_line(),
        where=placed(device, dtype),
    )  # fmt: skip


@app.command()
def chat(
    model: Annotated[str, typer.Argument(metavar="DIR", help="An unlearned checkpoint, such as out/model, or any.")],
    before: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="MODEL", help="Answers first, for comparison; by default what DIR says it came from."),
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Without the model before.")] = False,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of a reply.")] = 128,
    dtype: Dtype = "auto",
    device: Device = None,
) -> None:
    """Talk with a model as it was and as it is, side by side; memories and system prompts come along."""
    from easyedit_unlearn.errors import UnlearnError
    from easyedit_unlearn.experiment.talk import Talk
    from easyedit_unlearn.model.checkpoint import base_of, system_prompt_of
    from easyedit_unlearn.model.load import load_model, placed
    from easyedit_unlearn.report.terminal import printable

    where, told = placed(device, dtype), Console(stderr=True)
    came_from = None if alone else before or base_of(Path(model))
    talks = {}
    if came_from is not None:
        try:
            talks["before"] = Talk(load_model(came_from, **where), max_new_tokens=max_new_tokens)
        except UnlearnError as error:
            if before is not None:
                raise
            told.print(Text(f"without the model before: {printable(str(error))}", style="yellow"), soft_wrap=True)
    now = load_model(model, **where)
    talks["after"] = Talk(now, system=system_prompt_of(Path(model)), max_new_tokens=max_new_tokens)
    told.print("Ask anything; an empty line or Ctrl-D ends, /new begins anew.", style="dim")
    while question := _line(told):
        if question == "/new":
            for talk in talks.values():
                talk.forget()
            continue
        for name, talk in talks.items():
            typer.echo(f"{name:>6}: " if len(talks) > 1 else "", nl=False)
            talk.say(question, lambda text: typer.echo(printable(text), nl=False))
            typer.echo("")


def _line(told: Console) -> str:
    if sys.stdin.isatty():
        told.print("> ", end="", style="bold")
    try:
        return sys.stdin.readline().strip()
    except KeyboardInterrupt:
        return ""


@app.command()
def verify(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="An unlearned checkpoint with its unlearning.json.")],
    forget: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="TASK[:SPLIT]|FILE", help="What it was to forget, where the record holds hashes alone."),
    ] = None,
    dtype: Dtype = "auto",
    device: Device = None,
) -> None:
    """Check that a checkpoint is the one that its record is of, and ask it again. Status 1 where it is not."""
    from easyedit_unlearn.cli.verify import verify_command
    from easyedit_unlearn.model.load import placed

    if not verify_command(model, forget, plugins=registered(), where=placed(device, dtype)):
        raise typer.Exit(1)
