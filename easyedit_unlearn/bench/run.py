"""``easyedit-unlearn bench``: run what is not there yet, then write the leaderboard."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from easyedit_unlearn.bench.board import results_of
from easyedit_unlearn.bench.cells import Outcome, failed
from easyedit_unlearn.bench.digest import cell_key, model_key
from easyedit_unlearn.bench.executors import EXECUTORS, Job
from easyedit_unlearn.bench.grid import read_bench
from easyedit_unlearn.bench.progress import Live
from easyedit_unlearn.errors import ConfigError, OutputExistsError
from easyedit_unlearn.plugins import Plugins
from easyedit_unlearn.report.pages import FILES, write_report
from easyedit_unlearn.report.terminal import print_leaderboard
from easyedit_unlearn.storage import write_json

CELLS, LOGS, MODELS = "cells", "logs", "models"


class Bench:
    """The cells of one file in one folder.

    Raises:
        ConfigError: see ``read_bench``. OutputExistsError: ``out`` holds something that is no bench. DataError: a set
            cannot be read.
    """

    def __init__(self, file: Path, out: Path, plugins: Plugins, *, resume: bool = True) -> None:
        self.title, cells = read_bench(file, plugins)
        if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CELLS).is_dir())):
            raise OutputExistsError(f"{out} holds something that is no bench; choose another --out")
        self.out, self._plugins = out, plugins
        self.cells = {cell_key(cell, plugins): cell for cell in cells}
        self.outcomes: dict[str, Outcome] = self._read() if resume else {}
        (out / CELLS).mkdir(parents=True, exist_ok=True)

    @property
    def missing(self) -> list[str]:
        """What was never run, or failed."""
        return [key for key in self.cells if self.outcomes.get(key, {}).get("status") != "done"]

    def run(self, executor: str, count: int, live: Live) -> None:
        """Every outcome is written the moment it is there."""
        execute = EXECUTORS[executor]
        taught, untaught = self._teach(executor, count, live)
        jobs: dict[str, Job] = {}
        for key in self.missing:
            cell = self.cells[key]
            model = model_key(cell, self._plugins) if cell.finetune else None
            if model in untaught:
                self._record(key, failed(f"its model was not taught: {untaught[model]}"), live)
            else:
                jobs[key] = {"cell": cell.model_dump(mode="json"), "model": taught.get(model) if model else None}
        with closing(execute(jobs, count, self.out / LOGS, live.said)) as outcomes:  # an interrupt ends the workers
            for key, outcome in outcomes:
                self._record(key, outcome, live)

    def report(self, command: str, status: str) -> dict[str, Any]:
        """Write ``results.json``, ``results.csv``, the pages and charts, of what is there; also returned."""
        there = [(cell, self.outcomes[key]) for key, cell in self.cells.items() if key in self.outcomes]
        results = results_of(there)
        results.status, results.command = status, command
        results.message = f"{self.title}: {len(there)} of {len(self.cells)} cells"
        found = results.as_dict()
        write_report(found, self.out)
        return found

    def _teach(self, executor: str, count: int, live: Live) -> tuple[dict[str, str], dict[str, str]]:
        """Folders of the models that missing cells begin with, by key, and why others could not be taught."""
        wanted = {model_key(c, self._plugins): c for k in self.missing if (c := self.cells[k]).finetune}
        folders = {key: str((self.out / MODELS / key).resolve()) for key in wanted}
        jobs: dict[str, Job] = {
            f"teach-{key}": {"cell": cell.model_dump(mode="json"), "teach": folders[key]}
            for key, cell in wanted.items()
        }
        for key, cell in wanted.items():
            live.names[f"teach-{key}"] = f"teaching {cell.label}"
        errors = {}
        with closing(EXECUTORS[executor](jobs, count, self.out / LOGS, live.said)) as outcomes:
            for key, outcome in outcomes:
                live.done(key, None)
                if outcome["status"] != "done":
                    errors[key.removeprefix("teach-")] = outcome["error"]
        return folders, errors

    def _record(self, key: str, outcome: Outcome, live: Live) -> None:
        self.outcomes[key] = outcome
        write_json(self.out / CELLS / f"{key}.json", {"cell": self.cells[key].model_dump(mode="json"), **outcome})
        live.done(key, outcome)

    def _read(self) -> dict[str, Outcome]:
        """What is there of these very cells; what does not read is run again."""
        found = {}
        for key in self.cells:
            try:
                outcome = json.loads((self.out / CELLS / f"{key}.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(outcome, dict) and outcome.get("status") in ("done", "failed"):
                found[key] = outcome
        return found


def command(file: Path, out: Path, *, executor: str, jobs: int, resume: bool, plugins: Plugins, command: str) -> int:
    """Run and report; Ctrl-C and SIGTERM leave what is finished, and a report of it. Returns how many cells
    failed."""
    if executor not in EXECUTORS:
        raise ConfigError(f"not an executor; allowed: {', '.join(EXECUTORS)}", key="--executor", value=executor)
    bench = Bench(file, out, plugins, resume=resume)
    console, status = Console(file=sys.stderr), "interrupted"
    names = {key: cell.name for key, cell in bench.cells.items()}
    with _terminable(), Live(console, names, len(bench.cells) - len(bench.missing), jobs) as live:
        try:
            bench.run(executor, jobs, live)
            status = "complete"
        finally:
            results = bench.report(command, status)
    print_leaderboard(Console(file=sys.stdout), results)
    print(f"\nwritten: {out}/{', '.join(FILES)}")  # noqa: T201
    return sum(outcome["status"] != "done" for key, outcome in bench.outcomes.items() if key in bench.cells)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends it like Ctrl-C."""

    def interrupt(_signal: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
