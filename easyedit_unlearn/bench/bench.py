"""The cells of one BENCH file in one folder: run what is not there yet."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from easyedit_unlearn.bench.board import results_of
from easyedit_unlearn.bench.cells import Outcome, failed
from easyedit_unlearn.bench.digest import cell_key, model_key
from easyedit_unlearn.bench.executors import EXECUTORS, Job
from easyedit_unlearn.bench.grid import read_bench
from easyedit_unlearn.bench.live import Live
from easyedit_unlearn.errors import OutputExistsError
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.report.pages import write_report
from easyedit_unlearn.results import Results
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
        checkpoints, failures = self._teach(executor, count, live)
        jobs: dict[str, Job] = {}
        for key in self.missing:
            cell = self.cells[key]
            model = model_key(cell, self._plugins) if cell.finetune else None
            if model in failures:
                self._record(key, failed(f"its model was not taught: {failures[model]}"), live)
            else:
                jobs[key] = {"cell": cell.model_dump(mode="json"), "model": checkpoints.get(model) if model else None}
        with closing(execute(jobs, count, self.out / LOGS, live.said)) as outcomes:  # an interrupt ends the workers
            for key, outcome in outcomes:
                self._record(key, outcome, live)

    def report(self, command: str, status: str) -> Results:
        """Write ``results.json``, ``results.csv``, the pages and charts, of what is there; also returned."""
        there = [(cell, self.outcomes[key]) for key, cell in self.cells.items() if key in self.outcomes]
        results = results_of(there)
        results.status, results.command = status, command
        results.message = f"{self.title}: {len(there)} of {len(self.cells)} cells"
        write_report(results, self.out, self._plugins.metrics)
        return results

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
            if isinstance(outcome, dict) and ("rows" in outcome or outcome.get("status") == "failed"):
                found[key] = outcome
        return found
