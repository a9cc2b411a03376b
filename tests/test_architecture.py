"""The shape of the package: imports point one way, built-ins are lazy, and only one room knows EasyEdit."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from easyedit_unlearn import builtins
from easyedit_unlearn.components import Lazy, Method, Metric, QueryMerger, SetMetric, TargetBuilder, Task
from easyedit_unlearn.plugins.load import default_plugins

PACKAGE = Path(builtins.__file__).parent
FLOORS = (
    "errors types text leftovers storage progress versions environment yamls",
    "components results caches evaluation/judging",
    "plugins builtins model",
    "tasks",
    "config",
    "targets merging editors baselines evaluation artefacts",
    "host report",
    "experiment",
    "bench",
    "cli",
    "__init__ __main__",
)
"""From the ground up. A room imports from the floors below it; no room but those of the ground floor from its own."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}
ROOMS_WITHIN = [room for room in FLOOR if "/" in room]
"""Rooms of their own that lie in another's folder."""
SOURCES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in PACKAGE.rglob("*.py")}


def imports_of(name: str) -> Iterator[str]:
    """Modules of this package and others that a module imports, also inside functions, but for types alone."""
    nodes: list[ast.AST] = [ast.parse(SOURCES[name].read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            nodes += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports by dots"
            assert node.module
            path = node.module.removeprefix("easyedit_unlearn").strip(".").replace(".", "/")
            inside = node.module.split(".")[0] == "easyedit_unlearn"
            for alias in node.names:
                found = f"{path}/{alias.name}".strip("/")
                yield f"easyedit_unlearn/{found if found in SOURCES else path or '__init__'}" if inside else node.module
        nodes += ast.iter_child_nodes(node)


def room_of(name: str) -> str:
    within = (room for room in ROOMS_WITHIN if name.startswith(f"{room}/"))
    return next(within, name.split("/", maxsplit=1)[0])


def inside(name: str) -> set[str]:
    found = {one.removeprefix("easyedit_unlearn/") for one in imports_of(name) if one.startswith("easyedit_unlearn/")}
    return {one if one in SOURCES else f"{one}/__init__" for one in found} - {name}


def test_no_module_imports_in_a_circle():
    try:
        TopologicalSorter({name: inside(name) for name in SOURCES}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_imports_point_down(name):
    room = room_of(name)
    for other in inside(name):
        its = room_of(other)
        if its in (room, "__init__") or {its, room} == {"plugins", "builtins"}:
            continue  # the version; and the table of what comes with the package stands beside what loads plugins
        assert FLOOR[its] < FLOOR[room] or FLOOR[room] == 0, f"{name} imports {other}, from a floor that is not below"


def test_every_room_is_a_package_and_only_one_imports_easyedit():
    assert all((folder / "__init__.py").is_file() for folder in {path.parent for path in SOURCES.values()})
    assert {path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()} == {
        room if (PACKAGE / room).is_dir() else f"{room}.py" for room in FLOOR if room not in ROOMS_WITHIN
    }
    knows = {name for name in SOURCES for other in imports_of(name) if other.split(".")[0] == "easyeditor"}
    assert {name.split("/")[0] for name in knows} <= {"host"}


def test_importing_the_package_its_command_line_and_its_tables_imports_no_torch():
    code = (
        "import sys, easyedit_unlearn; from easyedit_unlearn.cli.app import app;"
        "from easyedit_unlearn.plugins.load import default_plugins; plugins = default_plugins();"
        "list(plugins.tasks), list(plugins.query_mergers), list(plugins.metrics);"
        "sys.exit(', '.join({'torch', 'transformers', 'matplotlib', 'scipy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.stderr
    assert done.returncode == 0


KINDS = {
    "TASKS": ("tasks", Task),
    "TARGET_BUILDERS": ("target_builders", TargetBuilder),
    "QUERY_MERGERS": ("query_mergers", QueryMerger),
    "EDITORS": ("methods", Method),
    "BASELINES": ("methods", Method),
    "METRICS": ("metrics", (Metric, SetMetric)),
}


@pytest.mark.model
@pytest.mark.parametrize("table", KINDS)
def test_every_line_of_the_built_ins_is_what_it_says(table):
    registry, kind = KINDS[table]
    found = getattr(default_plugins(), registry)
    assert set(getattr(builtins, table)) <= set(found.names)
    for name, (summary, _target) in getattr(builtins, table).items():
        component = found.get(name)
        assert isinstance(component, kind)
        assert component.name == name
        assert found.summary(name) == summary
        assert found.get(name) is component


def test_a_line_that_leads_nowhere_is_said_when_it_is_used():
    lazy = Lazy("gone", "Nothing.", "easyedit_unlearn.tasks.facts:Gone")
    with pytest.raises(AttributeError, match="Gone"):
        lazy.load()
