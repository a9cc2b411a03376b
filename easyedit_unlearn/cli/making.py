"""Commands that make what others work on: questions, refusals, a model that was taught."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from easyedit_unlearn.cli.app import app, changes_of, interruptible, placing, registered
from easyedit_unlearn.cli.options import Changes, Device, DeviceMap, Dtype, Forget, Overwrite
from easyedit_unlearn.types import PromptStyle


@app.command()
def questions(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help='A person or thing, e.g. "Marie Curie".')],
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSON lines, to be read and edited before --forget FILE.")],
    model: Annotated[str, typer.Option(metavar="DIR", help="Who writes and answers them.")] = "embedded",
    count: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    again: Annotated[
        bool, typer.Option("--again", help="The second round's prompts, for an independent check.")
    ] = False,
    neighbours: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Also questions about others of its kind, for --holdout."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is sampled.")] = 0,
    dtype: Dtype = "auto",
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Have a model write questions about a topic, and keep those that it answers consistently."""
    from easyedit_unlearn.cli.questions import questions_command
    from easyedit_unlearn.experiment.topics import Topic
    from easyedit_unlearn.model.load import placed

    questions_command(
        Topic(topic, count, seed), model, out, neighbours, again=again, overwrite=overwrite, where=placed(device, dtype)
    )


@app.command()
def targets(
    hparams: Annotated[str, typer.Argument(metavar="HPARAMS", help="Whose unlearn.target builds the refusals.")],
    forget: Forget,
    out: Annotated[Optional[Path], typer.Option(metavar="DIR", help="Also write refusals.json here.")] = None,  # noqa: UP045
    model: Annotated[Optional[str], typer.Option(metavar="PATH", help="Instead of the hparams' model_name.")] = None,  # noqa: UP045
    changes: Changes = None,
    encoder: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="A sentence-transformers model, or embedded: how like the question each is."),
    ] = None,
    judge_url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="URL", help="An OpenAI-compatible endpoint that rates the refusals, e.g. http://host/v1."),
    ] = None,
    judge_model: Annotated[str, typer.Option(metavar="NAME", help="The judge's model.")] = "default",
    dtype: Dtype = "auto",
    device: Device = None,
    device_map: DeviceMap = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the refusals that facts would be edited to, and say how good they are. Changes no model."""
    from easyedit_unlearn.cli.targets import targets_command
    from easyedit_unlearn.evaluation.judge import ChatJudge
    from easyedit_unlearn.experiment.resolve import read_hparams

    plugins = registered()
    parsed = read_hparams(hparams, plugins, changes_of(changes) | placing(dtype, device, device_map))
    targets_command(
        parsed, forget, model or parsed.model_name, out, overwrite=overwrite, plugins=plugins, encoder=encoder,
        judge=ChatJudge(judge_url, judge_model) if judge_url else None,
    )  # fmt: skip


@app.command()
def finetune(
    data: Annotated[list[str], typer.Option(metavar="TASK[:SPLIT]|FILE", help="What to learn; may be repeated.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the checkpoint goes.")],
    model: Annotated[str, typer.Option(metavar="DIR", help="A checkpoint, a Hub name, or 'embedded'.")] = "embedded",
    epochs: Annotated[int, typer.Option(help="Of a round.")] = 10,
    rounds: Annotated[int, typer.Option(help="At most so many.")] = 3,
    learning_rate: Annotated[float, typer.Option(help="At the start of a round.")] = 1e-4,
    until: Annotated[float, typer.Option(help="The share of questions to be answered.")] = 0.8,
    rank: Annotated[int, typer.Option(min=0, help="Train LoRA adapters of this rank, as PISTOL does with 8.")] = 0,
    prompt: Annotated[PromptStyle, typer.Option(help="How questions are put.")] = "auto",
    dtype: Dtype = "auto",
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Teach a model questions and answers, to have it forget some of them."""
    from easyedit_unlearn.experiment.finetune import FinetuneSettings, finetuned_checkpoint
    from easyedit_unlearn.model.load import placed
    from easyedit_unlearn.progress import Bars

    settings = FinetuneSettings(learning_rate, epochs, rounds, until=until, rank=rank)
    with interruptible(out), Bars(Console(stderr=True)) as bars:
        done = finetuned_checkpoint(
            model, data, out, settings, overwrite=overwrite, style=prompt, plugins=registered(), progress=bars.progress,
            where=placed(device, dtype),
        )  # fmt: skip
    typer.echo(done)
