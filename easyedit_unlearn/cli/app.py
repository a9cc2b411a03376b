"""The application that commands register with, and what all of them share."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from easyedit_unlearn import __version__
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.plugins.load import Plugins, load_plugins
from easyedit_unlearn.report.terminal import printable
from easyedit_unlearn.yamls import load_yaml

app = typer.Typer(
    help="Run EasyEdit's knowledge editors as LLM unlearners, beside the unlearning baselines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class State:
    strict = False
    debug = False


def registered() -> Plugins:
    plugins = load_plugins(strict=State.strict)
    for info in plugins.broken:
        Console(stderr=True).print(
            Text(printable(f"warning: plugin {info.name} was skipped: {info.error}"), style="yellow")
        )
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
    State.debug, State.strict = debug, strict_plugins


@contextmanager
def interruptible(out: Path) -> Iterator[None]:
    """Ctrl-C is an answer, not a fault: say what is left, and end with the shell's status for it."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"; what was finished is in {out}" if out.exists() else ""
        Console(stderr=True, soft_wrap=True).print(Text(f"interrupted: the model is as it was{kept}", style="red"))
        raise typer.Exit(130) from None


def changes_of(given: list[str] | None) -> dict[str, Any]:
    """``key=value`` pairs, values read as YAML."""
    import yaml

    found = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        try:
            found[key.strip()] = load_yaml(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            equals = ""
        if not equals or not key.strip():
            raise UnlearnError(f"--set {text}: write KEY=VALUE with a YAML value, e.g. --set unlearn.merge.size=5")
    return found


def placing(dtype: str, device: str | None, device_map: str | None) -> dict[str, Any]:
    """What the options of precision and place stand for, as overrides of hparams; those that were given."""
    given = {"unlearn.dtype": dtype, "device": device, "unlearn.device_map": device_map}
    return {
        key: value
        for key, value in given.items()
        if value not in (None, "auto") or (key == "unlearn.device_map" and value)
    }


def named(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not equals:
        raise UnlearnError(f"--also {text}: write NAME=TASK[:SPLIT] or NAME=FILE")
    return name, source


def listed(text: str | None) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def command_line() -> str:
    return shlex.join(["easyedit-unlearn", *sys.argv[1:]])
