"""Load plugins, keep a broken one from spoiling the rest, and fill the registries."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from easyedit_unlearn.components import Component, Lazy, Method, Metric, QueryMerger, SetMetric, TargetBuilder, Task
from easyedit_unlearn.errors import PluginError
from easyedit_unlearn.plugins import hookspecs
from easyedit_unlearn.plugins.hookspecs import NAME
from easyedit_unlearn.plugins.registry import Registry

DISABLE_VARIABLE = "EASYEDIT_UNLEARN_DISABLE"
BUILTIN = "builtin"


@dataclass
class PluginInfo:
    """One plugin as ``easyedit-unlearn plugins`` shows it. ``status`` is active, disabled or broken."""

    name: str
    distribution: str = ""
    version: str = ""
    status: str = "active"
    error: str = ""
    hooks: list[str] = field(default_factory=list)
    components: list[str] = field(default_factory=list)


@dataclass
class Plugins:
    """The five registries and where their contents came from."""

    tasks: Registry[Task] = field(default_factory=lambda: Registry("task"))
    target_builders: Registry[TargetBuilder] = field(default_factory=lambda: Registry("target builder"))
    query_mergers: Registry[QueryMerger] = field(default_factory=lambda: Registry("query merger"))
    methods: Registry[Method] = field(default_factory=lambda: Registry("method"))
    metrics: Registry[Metric | SetMetric] = field(default_factory=lambda: Registry("metric"))
    infos: list[PluginInfo] = field(default_factory=list)

    @property
    def broken(self) -> list[PluginInfo]:
        return [info for info in self.infos if info.status == "broken"]


_KINDS: dict[str, tuple[type[Component], ...]] = {
    "tasks": (Task,),
    "target_builders": (TargetBuilder,),
    "query_mergers": (QueryMerger,),
    "methods": (Method,),
    "metrics": (Metric, SetMetric),
}


def load_plugins(
    extra: Iterable[tuple[str, Any]] = (),
    *,
    strict: bool = False,
    disabled: Iterable[str] | None = None,
    use_entry_points: bool = True,
) -> Plugins:
    """Build a fresh set of registries from the built-ins, the installed entry points and ``extra``.

    Args:
        extra: (name, module or object) pairs to load as plugins, for tests and notebooks.
        strict: raise on a broken plugin instead of skipping it.
        disabled: names to block; by default the comma-separated ``EASYEDIT_UNLEARN_DISABLE``.

    Raises:
        PluginError: a plugin is broken and ``strict`` is set.
        DuplicateComponentError: two plugins register one name.
    """
    if disabled is None:
        disabled = [name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(",")]
    blocked = {name for name in disabled if name}
    plugins = Plugins()
    for info, load in _sources(extra, use_entry_points):
        plugins.infos.append(info)
        if info.name in blocked:
            info.status = "disabled"
            continue
        try:
            if any(other.name == info.name for other in plugins.infos[:-1]):
                raise PluginError(f"another plugin is already called {info.name!r}")
            with redirect_stdout(sys.stderr):  # what it prints is no part of a command's answer
                found = _components_of(info, load())
        except (Exception, SystemExit) as error:  # a plugin may raise anything, and may not end the command
            if info.name == BUILTIN or isinstance(error, MemoryError):
                raise  # no fault of a plugin: the next time it may load, so nothing is kept of this
            if strict:
                raise PluginError(f"plugin {info.name!r} is broken: {_say(error)}") from error
            info.status, info.error = "broken", _say(error)
            continue
        for kind, component in found:
            getattr(plugins, kind).add(component, info.name)
            info.components.append(f"{kind}:{component.name}")
    return plugins


@cache
def default_plugins() -> Plugins:
    """The set that everything uses when not given one; loaded once a process."""
    return load_plugins()


def _sources(extra: Iterable[tuple[str, Any]], use_entry_points: bool) -> list[tuple[PluginInfo, Any]]:
    from easyedit_unlearn import builtins

    sources: list[tuple[PluginInfo, Any]] = [(PluginInfo(BUILTIN, "easyedit-unlearn"), lambda: builtins)]
    if use_entry_points:
        found = sorted(entry_points(group=NAME), key=lambda point: (point.name, _distribution(point)[0]))
        sources += [(PluginInfo(point.name, *_distribution(point)), point.load) for point in found]
    sources += [(PluginInfo(name), lambda plugin=plugin: plugin) for name, plugin in extra]
    return sources


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("", "")


def _components_of(info: PluginInfo, plugin: Any) -> list[tuple[str, Component | Lazy]]:
    """Register one plugin alone (so that a fault is its own) and call its hooks one at a time."""
    manager = pluggy.PluginManager(NAME)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, info.name)
    manager.check_pending()  # a misspelled hook name would otherwise pass unseen
    found: list[tuple[str, Component | Lazy]] = []
    for caller in manager.get_hookcallers(plugin) or []:
        info.hooks.append(caller.name)
        kind = caller.name.removeprefix(f"{NAME}_")
        for component in _returned(caller):
            _check(component, kind, caller.name)
            found.append((kind, component))
    if not info.hooks:
        raise PluginError(f"it implements no hook; mark functions with easyedit_unlearn.hookimpl: {_hook_names()}")
    return found


def _returned(caller: pluggy.HookCaller) -> list[Any]:
    results = caller()
    if not results or not isinstance(results[0], list | tuple):
        raise PluginError(f"{caller.name} must return a list of components")
    return list(results[0])


def _check(component: Any, kind: str, hook: str) -> None:
    expected = _KINDS[kind]
    if not isinstance(component, (*expected, Lazy)):
        names = " or ".join(kind.__name__ for kind in expected)
        raise PluginError(f"{hook} must return instances of {names}, got {component!r}")
    if not isinstance(getattr(component, "name", None), str) or not isinstance(
        getattr(component, "summary", None), str
    ):
        raise PluginError(f"{hook}: {type(component).__name__} needs a name and a summary")


def _hook_names() -> Sequence[str]:
    return [f"{NAME}_{kind}" for kind in _KINDS]


def _say(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
