"""Commands that run a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from easyedit_unlearn.cli.app import app, changes_of, command_line, interruptible, listed, named, placing, registered
from easyedit_unlearn.cli.options import (
    Also,
    Attacks,
    Changes,
    Depth,
    Device,
    DeviceMap,
    Dtype,
    Forget,
    GradNorm,
    Holdout,
    LmEval,
    LmEvalLimit,
    OptionalForget,
    OptionalOut,
    Overwrite,
    Retain,
    RetainLog,
)
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.types import PromptStyle


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results and reports go.")] = Path("unlearn-demo"),
    overwrite: Overwrite = False,
) -> None:
    """Forget five facts with AlphaEdit, with EasyEdit's own ROME and with NPO, on the embedded model."""
    from easyedit_unlearn.cli import demo as body

    with interruptible(out):
        body.demo(out, overwrite=overwrite, plugins=registered(), command=command_line())


@app.command()
def run(
    hparams: Annotated[
        str,
        typer.Argument(
            metavar="HPARAMS",
            help="A YAML file, a shipped name (ROME/smollm2-135m), or a method (AlphaEdit), with settings derived from "
            "--model.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the model, results and reports go.")],
    forget: OptionalForget = None,
    topic: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="In its place, a person or thing: the model writes the questions."),
    ] = None,
    retain: Retain = None,
    holdout: Holdout = None,
    also: Also = None,
    model: Annotated[Optional[str], typer.Option(metavar="PATH", help="Instead of the hparams' model_name.")] = None,  # noqa: UP045
    changes: Changes = None,
    retain_log: RetainLog = None,
    attacks: Attacks = False,
    depth: Depth = False,
    gradnorm: GradNorm = False,
    lm_eval: LmEval = None,
    lm_eval_limit: LmEvalLimit = None,
    dtype: Dtype = "auto",
    device: Device = None,
    device_map: DeviceMap = None,
    overwrite: Overwrite = False,
    record_questions: Annotated[
        bool, typer.Option("--record-questions", help="Name the forget set in model/unlearning.json, not by hashes.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, say what would be done, and stop.")
    ] = False,
) -> None:
    """Unlearn with one hparams file, or a method alone, and save the model as an ordinary checkpoint."""
    from easyedit_unlearn.experiment.config import EvalConfig
    from easyedit_unlearn.experiment.resolve import is_file, read_hparams

    plugins, overrides = registered(), changes_of(changes) | placing(dtype, device, device_map)
    parsed = read_hparams(hparams, plugins, overrides)
    if model is None and not is_file(hparams):
        raise UnlearnError(f"{hparams} alone names no model: add --model DIR, a Hub name, or embedded")
    if (forget is None) == (topic is None):
        raise UnlearnError("name what to forget: --forget TASK[:SPLIT]|FILE, or --topic NAME")
    config = EvalConfig.for_methods(
        [parsed], forget, retain, holdout=holdout, also=dict(map(named, also or [])), retain_log=retain_log,
        attacks=attacks, depth=depth, gradnorm=gradnorm, lm_eval=listed(lm_eval), lm_eval_limit=lm_eval_limit,
    )  # fmt: skip
    if topic is not None and "again" in config.also:
        raise UnlearnError("--also again: so is called the second round about a topic; choose another name")
    if dry_run:
        if topic is not None:
            raise UnlearnError("a topic's questions are written by the model: `easyedit-unlearn questions` shows them")
        from easyedit_unlearn.cli.dry_run import show_plan

        show_plan(
            parsed, config, plugins, model or parsed.model_name, out, overwrite=overwrite, derived=not is_file(hparams)
        )
        return
    from easyedit_unlearn.cli.unlearn import unlearn
    from easyedit_unlearn.experiment.topics import Topic

    with interruptible(out):
        unlearn(
            [(hparams, overrides)], config, model or parsed.model_name, out, overwrite=overwrite, plugins=plugins,
            command=command_line(), save=True, record_questions=record_questions,
            topic=None if topic is None else Topic(topic),
        )  # fmt: skip


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(metavar="DIR", help="A checkpoint, a Hub name, or 'embedded'.")],
    forget: Forget,
    retain: Retain = None,
    holdout: Holdout = None,
    out: OptionalOut = None,
    reference: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="DIR", help="The model before unlearning: it says which facts were known."),
    ] = None,
    also: Also = None,
    as_reference: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Write this model's scores, for --retain-log: it never saw the forget set."),
    ] = None,
    retain_log: RetainLog = None,
    attacks: Attacks = False,
    depth: Depth = False,
    gradnorm: GradNorm = False,
    lm_eval: LmEval = None,
    lm_eval_limit: LmEvalLimit = None,
    score_end: Annotated[bool, typer.Option(help="Count an answer's end as a token of it, as TOFU does.")] = True,
    prompt: Annotated[PromptStyle, typer.Option(help="How questions are put.")] = "auto",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of a reply.")] = 48,
    dtype: Dtype = "auto",
    device: Device = None,
    device_map: DeviceMap = None,
    cache: Annotated[bool, typer.Option(help="Read what this very model said before, and keep what it says.")] = True,
    overwrite: Overwrite = False,
) -> None:
    """Evaluate a checkpoint as it stands, whoever made it: every metric on every group."""
    from easyedit_unlearn.cli.evaluate import evaluate_command
    from easyedit_unlearn.experiment.config import EvalConfig
    from easyedit_unlearn.model.load import placed

    groups = dict(map(named, also or []))
    config = EvalConfig(
        forget, retain, holdout, groups, prompt, max_new_tokens, as_reference, retain_log, attacks, depth, gradnorm,
        score_end, listed(lm_eval), lm_eval_limit, remember=cache,
    )  # fmt: skip
    evaluate_command(
        model, config, out, reference=reference, overwrite=overwrite, plugins=registered(), command=command_line(),
        where=placed(device, dtype, device_map),
    )  # fmt: skip


@app.command()
def bench(
    file: Annotated[Path, typer.Argument(metavar="BENCH.yaml", help="The grid; see benchmarks/smoke.yaml.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Cells, leaderboard and report; finished cells stay.")],
    executor: Annotated[str, typer.Option(metavar="local|ray", help="Processes here, or a Ray cluster.")] = "local",
    jobs: Annotated[int, typer.Option(min=1, help="Cells at once.")] = 1,
    resume: Annotated[bool, typer.Option(help="Skip cells that are done; --no-resume runs all again.")] = True,
) -> None:
    """Run a grid of methods, targets, mergers, sizes, seeds and models; write the leaderboard and the report."""
    from easyedit_unlearn.cli.bench import bench_command

    with interruptible(out):
        failed = bench_command(
            file, out, executor=executor, jobs=jobs, resume=resume, plugins=registered(), command=command_line()
        )  # fmt: skip
    if failed:
        raise typer.Exit(1)
