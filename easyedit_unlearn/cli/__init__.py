"""``easyedit-unlearn``: thin. Errors are one line and exit status 2; a traceback only with ``--debug``."""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from easyedit_unlearn.cli import runs, making, talking, fitting, artefacts, shows, logs  # isort: skip  # noqa: F401  (commands, in the order of help)
from easyedit_unlearn.cli.app import State, app
from easyedit_unlearn.errors import UnlearnError, UnlearnWarning
from easyedit_unlearn.report.terminal import printable

__all__ = ["app", "main"]


def main() -> None:
    """Entry point."""
    warnings.showwarning = _show(warnings.showwarning)
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


def _show(as_before: Any) -> Any:
    """Our own warnings are one line too."""

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, UnlearnWarning):
            Console(stderr=True, soft_wrap=True).print(Text(f"warning: {printable(str(message))}", style="yellow"))
        else:
            as_before(message, category, *where, **more)

    return show


def _fail(message: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(Text(f"error: {printable(' '.join(message.split()))}", style="red"))
    raise SystemExit(2)
