"""``easyedit-unlearn``: thin. Errors are one line and exit status 2; a traceback only with ``--debug``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer
from rich.console import Console
from rich.text import Text

from easyedit_unlearn import __version__
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.plugins import Plugins, load_plugins
from easyedit_unlearn.prompting import PromptStyle
from easyedit_unlearn.report.terminal import print_rows, printable

app = typer.Typer(
    help="Run EasyEdit's knowledge editors as LLM unlearners, beside the unlearning baselines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
KINDS = {
    "tasks": "tasks",
    "targets": "target_builders",
    "mergers": "query_mergers",
    "methods": "methods",
    "metrics": "metrics",
}

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results already in --out.")]
Forget = Annotated[str, typer.Option(metavar="TASK[:SPLIT]|FILE", help="What to forget, e.g. facts:forget5.")]
Retain = Annotated[Optional[str], typer.Option(metavar="TASK[:SPLIT]|FILE", help="What a method may train on to keep.")]  # noqa: UP045
Holdout = Annotated[Optional[str], typer.Option(metavar="TASK[:SPLIT]|FILE", help="Neighbours, only evaluated.")]  # noqa: UP045
Changes = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="KEY=VALUE", help="Instead of the file's, e.g. unlearn.merge.merger=concat."),
]
OptionalOut = Annotated[Optional[Path], typer.Option(metavar="DIR", help="Also write results.json and reports here.")]  # noqa: UP045


RetainLog = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="Scores of a model that never saw the forget set, for forget quality, privleak."),
]
Also = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(metavar="NAME=TASK[:SPLIT]|FILE", help="A further group, e.g. world_facts=tofu,subset=world_facts."),
]
Attacks = Annotated[bool, typer.Option("--attacks", help="Also ask for what is forgotten in other ways.")]
Depth = Annotated[bool, typer.Option("--depth", help="Also look for it in the layers, relearn it, round the weights.")]


GradNorm = Annotated[bool, typer.Option("--gradnorm", help="Also membership by gradients: a backward pass a fact.")]


class _State:
    strict = False
    debug = False


def _plugins() -> Plugins:
    plugins = load_plugins(strict=_State.strict)
    for info in plugins.broken:
        Console(stderr=True).print(Text(f"warning: plugin {info.name} was skipped: {info.error}", style="yellow"))
    return plugins


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"easyedit-unlearn {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    strict_plugins: Annotated[bool, typer.Option("--strict-plugins", help="Fail on a broken plugin.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    _State.debug, _State.strict = debug, strict_plugins


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results and reports go.")] = Path("unlearn-demo"),
    overwrite: Overwrite = False,
) -> None:
    """Forget five facts with ROME (through EasyEdit) and with GradDiff, on the embedded model."""
    from easyedit_unlearn import commands

    with _interruptible(out):
        commands.demo(out, overwrite=overwrite, plugins=_plugins(), command=_command())


@app.command()
def run(
    hparams: Annotated[
        str, typer.Argument(metavar="HPARAMS", help="A YAML file, or a shipped name: ROME/smollm2-135m.")
    ],
    forget: Forget,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the model, results and reports go.")],
    retain: Retain = None,
    holdout: Holdout = None,
    also: Also = None,
    model: Annotated[Optional[str], typer.Option(metavar="PATH", help="Instead of the hparams' model_name.")] = None,  # noqa: UP045
    changes: Changes = None,
    retain_log: RetainLog = None,
    attacks: Attacks = False,
    depth: Depth = False,
    gradnorm: GradNorm = False,
    overwrite: Overwrite = False,
) -> None:
    """Unlearn with one hparams file and save the model as an ordinary checkpoint."""
    from easyedit_unlearn import commands
    from easyedit_unlearn.evaluation.probes import Probing
    from easyedit_unlearn.hparams import UnlearnHyperParams

    plugins = _plugins()
    parsed = UnlearnHyperParams.from_hparams(hparams, plugins=plugins, overrides=_changes(changes))
    with _interruptible(out):
        commands.unlearn(
            [parsed], (forget, retain, holdout), model or parsed.model_name, out, overwrite=overwrite, plugins=plugins,
            command=_command(), save=True, retain_log=retain_log, probing=Probing(attacks, depth), gradnorm=gradnorm,
            also=dict(map(_named, also or [])),
        )  # fmt: skip


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
    overwrite: Overwrite = False,
) -> None:
    """Write the refusals that facts would be edited to, and say how good they are. Changes no model."""
    from easyedit_unlearn import commands
    from easyedit_unlearn.evaluation.judge import ChatJudge
    from easyedit_unlearn.hparams import UnlearnHyperParams

    plugins = _plugins()
    parsed = UnlearnHyperParams.from_hparams(hparams, plugins=plugins, overrides=_changes(changes))
    commands.targets(
        parsed, forget, model or parsed.model_name, out, overwrite=overwrite, plugins=plugins, encoder=encoder,
        judge=ChatJudge(judge_url, judge_model) if judge_url else None,
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
    prompt: Annotated[PromptStyle, typer.Option(help="How questions are put.")] = "auto",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of a reply.")] = 48,
    cache: Annotated[bool, typer.Option(help="Read what this very model said before, and keep what it says.")] = True,
    overwrite: Overwrite = False,
) -> None:
    """Evaluate a checkpoint as it stands, whoever made it: every metric on every group."""
    from easyedit_unlearn import commands
    from easyedit_unlearn.checkpoints import Asked

    groups = dict(map(_named, also or []))
    asked = Asked(
        forget, retain, holdout, groups, prompt, max_new_tokens, as_reference, retain_log, attacks, depth, gradnorm,
        remember=cache,
    )  # fmt: skip
    commands.evaluate(
        model, asked, out, reference=reference, overwrite=overwrite, plugins=_plugins(), command=_command()
    )


@app.command()
def finetune(
    data: Annotated[list[str], typer.Option(metavar="TASK[:SPLIT]|FILE", help="What to learn; may be repeated.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the checkpoint goes.")],
    model: Annotated[str, typer.Option(metavar="DIR", help="A checkpoint, a Hub name, or 'embedded'.")] = "embedded",
    epochs: Annotated[int, typer.Option(help="Of a round.")] = 10,
    rounds: Annotated[int, typer.Option(help="At most so many.")] = 3,
    learning_rate: Annotated[float, typer.Option(help="At the start of a round.")] = 1e-4,
    until: Annotated[float, typer.Option(help="The share of questions to be answered.")] = 0.8,
    prompt: Annotated[PromptStyle, typer.Option(help="How questions are put.")] = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Teach a model questions and answers, to have it forget some of them."""
    from easyedit_unlearn import finetuning

    settings = finetuning.FinetuneSettings(learning_rate, epochs, rounds, until=until)
    with _interruptible(out):
        finetuning.command(model, data, out, settings, overwrite=overwrite, style=prompt, plugins=_plugins())


@app.command()
def bench(
    file: Annotated[Path, typer.Argument(metavar="BENCH.yaml", help="The grid; see benchmarks/smoke.yaml.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Cells, leaderboard and report; finished cells stay.")],
    executor: Annotated[str, typer.Option(metavar="local|ray", help="Processes here, or a Ray cluster.")] = "local",
    jobs: Annotated[int, typer.Option(min=1, help="Cells at once.")] = 1,
    resume: Annotated[bool, typer.Option(help="Skip cells that are done; --no-resume runs all again.")] = True,
) -> None:
    """Run a grid of methods, targets, mergers, sizes, seeds and models; write the leaderboard and the report."""
    from easyedit_unlearn.bench import run as benches

    with _interruptible(out):
        benches.command(
            file, out, executor=executor, jobs=jobs, resume=resume, plugins=_plugins(), command=_command()
        )  # fmt: skip


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")], as_json: Json = False
) -> None:
    """List what can be named in a config."""
    from easyedit_unlearn.errors import suggest

    if kind not in KINDS:
        raise UnlearnError(f"cannot list {kind!r}. {suggest(kind, KINDS)}")
    registry = getattr(_plugins(), KINDS[kind])
    rows = [{"name": c.name, "owner": registry.owner(c.name), "summary": c.summary} for c in registry]
    if as_json:
        _print_json(rows)
    else:
        print_rows(Console(), kind, ("name", "owner", "summary"), [tuple(row.values()) for row in rows])


@app.command()
def plugins(as_json: Json = False) -> None:
    """Show every plugin, what it adds, and what is wrong with it."""
    infos = [asdict(info) for info in load_plugins(strict=_State.strict).infos]
    if as_json:
        _print_json(infos)
        return
    rows = [
        (
            i["name"],
            f"{i['distribution']} {i['version']}".strip(),
            i["status"],
            ", ".join(i["components"]) or i["error"],
        )
        for i in infos
    ]
    print_rows(Console(), "plugins", ("plugin", "distribution", "status", "adds"), rows)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say which EasyEdit, which versions, which method comes from where, what is missing and what mends it."""
    from easyedit_unlearn.environment import diagnose

    with Console(stderr=True).status("looking at the installation (importing EasyEdit takes a few seconds)"):
        found = diagnose(load_plugins(strict=_State.strict))
    if as_json:
        _print_json(found)
        return
    console, host = Console(), found["host"]
    print_rows(console, "versions", ("package", "version"), [*found["versions"].items(), ("device", found["device"])])
    console.print(
        Text(f"EasyEdit: {host['kind']} {host['version']} in {host['path']}" if host else "EasyEdit: not found")
    )
    print_rows(console, "methods", ("method", "from"), [(m["name"], m["source"]) for m in found["methods"]])
    for item in found["missing"]:
        console.print(Text(f"missing: {item['what']}\n   mend: {item['command']}"), soft_wrap=True)
    if not found["missing"]:
        console.print("Nothing is missing for `easyedit-unlearn demo`.")


@contextmanager
def _interruptible(out: Path) -> Iterator[None]:
    """Ctrl-C is an answer, not a fault: say what is left, and end with the shell's status for it."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"; what was finished is in {out}" if out.exists() else ""
        Console(stderr=True, soft_wrap=True).print(Text(f"interrupted: the model is as it was{kept}", style="red"))
        raise typer.Exit(130) from None


def _changes(given: list[str] | None) -> dict[str, Any]:
    """``key=value`` pairs, values read as YAML."""
    import yaml

    found = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            equals = ""
        if not equals or not key.strip():
            raise UnlearnError(f"--set {text}: write KEY=VALUE with a YAML value, e.g. --set unlearn.merge.size=5")
    return found


def _named(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not equals:
        raise UnlearnError(f"--also {text}: write NAME=TASK[:SPLIT] or NAME=FILE")
    return name, source


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _command() -> str:
    return shlex.join(["easyedit-unlearn", *sys.argv[1:]])


def main() -> None:
    """Entry point."""
    try:
        app()
    except UnlearnError as error:
        if _State.debug:
            raise
        _fail(str(error))
    except Exception as error:
        if _State.debug:
            raise
        _fail(f"unexpected {type(error).__name__}: {error} (add --debug before the command to see where)")


def _fail(message: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(Text(f"error: {printable(' '.join(message.split()))}", style="red"))
    raise SystemExit(2)


if __name__ == "__main__":
    main()
