"""Whose implementation runs: resolved here, once, into the object that does."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal

from easyedit_unlearn.builtins import EASYEDIT, host_editors
from easyedit_unlearn.components import Method
from easyedit_unlearn.errors import ConfigError, suggest
from easyedit_unlearn.plugins.load import Plugins

EngineChoice = Literal["auto", "host", "native"]


def resolve_method(name: str, choice: EngineChoice, plugins: Plugins, file: str) -> Method:
    """The method of that name that runs: a registered one, or an editor of EasyEdit's.

    ``auto`` is ours, but for what is EasyEdit's in the first place (ROME, MEMIT, ...) and the installed EasyEdit has.

    Raises:
        ConfigError: no such method, or none of that engine. HostError: the installed EasyEdit has no such editor.
    """
    registered = name in plugins.methods
    if not registered and name not in EASYEDIT and _mistyped(name, plugins):
        raise unknown_method(name, plugins, file)
    if choice == "native" and not registered:
        raise _only("host", name, file, choice)
    if choice == "host" and registered and name not in EASYEDIT:
        raise _only("native", name, file, choice)
    if registered and choice != "host":
        ours = plugins.methods.get(name)
        if choice == "native" or not ours.host_first or not host_editors().has(name):
            return ours
    found: Any = host_editors().get(name)
    return found  # type: ignore[no-any-return]


def unknown_method(name: str, plugins: Plugins, file: str | None = None) -> ConfigError:
    """Says which there are, and which was probably meant."""
    problem = f"unknown method. {suggest(name, {*plugins.methods.names, *EASYEDIT})}"
    return ConfigError(problem, file=file, key="alg_name", value=name or None)


def _mistyped(name: str, plugins: Plugins) -> bool:
    """A newer EasyEdit may have editors that we have never heard of; a slip of a known name need not wait for it."""
    known = {other.casefold() for other in (*plugins.methods.names, *EASYEDIT)}
    return bool(get_close_matches(name.casefold(), known, n=1, cutoff=0.7)) or not host_editors().has(name)


def _only(engine: str, name: str, file: str, choice: EngineChoice) -> ConfigError:
    return ConfigError(f"{name} has only the {engine} engine", file=file, key="unlearn.engine", value=choice)
