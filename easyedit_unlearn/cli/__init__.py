"""``easyedit-unlearn``: thin. Errors are one line and exit status 2; a traceback only with ``--debug``."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console
from rich.text import Text

from easyedit_unlearn.cli import runs, fitting, artefacts, shows  # isort: skip  # noqa: F401  (commands, in the order of help)
from easyedit_unlearn.cli.app import State, app
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.report.terminal import printable

__all__ = ["app", "main"]


def main() -> None:
    """Entry point."""
    try:
        app()
    except UnlearnError as error:
        if State.debug:
            raise
        _fail(str(error))
    except Exception as error:
        if State.debug:
            raise
        _fail(f"unexpected {type(error).__name__}: {error} (add --debug before the command to see where)")


def _fail(message: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(Text(f"error: {printable(' '.join(message.split()))}", style="red"))
    raise SystemExit(2)
