"""The cells of one BENCH file in one folder: run what is not there yet."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from easyedit_unlearn.bench.board import results_of
from easyedit_unlearn.bench.cells import Outcome, failed
from easyedit_unlearn.bench.claims import Claims
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
        (out / CELLS).mkdir(parents=True, exist_ok=True)
        self._since, self._claims = 0.0 if resume else time.time(), Claims(out / CELLS)
        self.outcomes: dict[str, Outcome] = {key: found for key in self.cells if (found := self._read(key))}

    @property
    def missing(self) -> list[str]:
        """What was never run, or failed."""
        return [key for key in self.cells if self.outcomes.get(key, {}).get("status") != "done"]

    def run(self, executor: str, count: int, live: Live) -> None:
        """Every outcome is written the moment it is there. A cell that another bench on the same folder runs meanwhile
        is not run here, unless that one does not bring it to an end."""
        try:
            todo = self.missing
            while todo:
                elsewhere = self._run(todo, executor, count, live)
                for key in elsewhere:
                    live.said(key, "runs in another bench")
                todo = [key for key in elsewhere if not self._awaited(key, live)]
        finally:
            self._claims.leave_all()

    def _run(self, keys: Sequence[str], executor: str, count: int, live: Live) -> list[str]:
        """Run these cells but for those of another bench, which are returned."""
        checkpoints, failures = self._teach(keys, executor, count, live)
        jobs: dict[str, Job] = {}
        elsewhere = set(keys)
        claim = partial(self._claim, elsewhere, live)
        for key in keys:
            cell = self.cells[key]
            model = model_key(cell, self._plugins) if cell.finetune else None
            if model not in failures:
                jobs[key] = {"cell": cell.model_dump(mode="json"), "model": checkpoints.get(model) if model else None}
            elif claim(key):
                self._record(key, failed(f"its model was not taught: {failures[model]}"), live)
        ended = EXECUTORS[executor](jobs, count, self.out / LOGS, live.said, claim)
        with closing(ended) as outcomes:  # an interrupt ends the workers
            for key, outcome in outcomes:
                self._record(key, outcome, live)
        return [key for key in keys if key in elsewhere]

    def report(self, command: str, status: str) -> Results:
        """Write ``results.json``, ``results.csv``, the pages and charts, of what is there; also returned."""
        there = [(cell, self.outcomes[key]) for key, cell in self.cells.items() if key in self.outcomes]
        results = results_of(there)
        results.status, results.command = status, command
        results.message = f"{self.title}: {len(there)} of {len(self.cells)} cells"
        write_report(results, self.out, self._plugins.metrics)
        return results

    def _teach(
        self, keys: Sequence[str], executor: str, count: int, live: Live
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Folders of the models that the cells begin with, by key, and why others could not be taught."""
        wanted = {model_key(c, self._plugins): c for k in keys if (c := self.cells[k]).finetune}
        folders = {key: str((self.out / MODELS / key).resolve()) for key in wanted}
        jobs: dict[str, Job] = {
            f"teach-{key}": {"cell": cell.model_dump(mode="json"), "teach": folders[key]}
            for key, cell in wanted.items()
        }
        for key, cell in wanted.items():
            live.names[f"teach-{key}"] = f"teaching {cell.label}"
        errors, done = {}, set[str]()
        while jobs:
            with closing(EXECUTORS[executor](jobs, count, self.out / LOGS, live.said, self._claims.take)) as outcomes:
                for key, outcome in outcomes:
                    self._claims.leave(key)
                    live.done(key, None)
                    done.add(key)
                    if outcome["status"] != "done":
                        errors[key.removeprefix("teach-")] = outcome["error"]
            jobs = {key: job for key, job in jobs.items() if key not in done}
            for key in jobs:  # who comes second finds it taught
                live.said(key, "is taught by another bench")
                self._claims.await_other(key)
        return folders, errors

    def _record(self, key: str, outcome: Outcome, live: Live) -> None:
        self.outcomes[key] = outcome
        write_json(self.out / CELLS / f"{key}.json", {"cell": self.cells[key].model_dump(mode="json"), **outcome})
        self._claims.leave(key)
        live.done(key, outcome)

    def _claim(self, elsewhere: set[str], live: Live, key: str) -> bool:
        """True if a cell is to be run here now; ``elsewhere`` loses those that no other bench runs."""
        if not self._claims.take(key):
            return False
        elsewhere.discard(key)
        if self._found(key, live):
            self._claims.leave(key)
            return False
        return True

    def _awaited(self, key: str, live: Live) -> bool:
        """Wait for the bench that runs a cell. True if it brought it to an end; else it is anybody's again."""
        self._claims.await_other(key)
        return self._found(key, live)

    def _found(self, key: str, live: Live) -> bool:
        """True if another bench has brought a cell to an end since."""
        found = self._read(key)
        if found is None or found["status"] != "done":
            return False
        self.outcomes[key] = found
        live.done(key, found)
        return True

    def _read(self, key: str) -> Outcome | None:
        """What is there of a cell; what does not read, or is older than what counts, is run again."""
        path = self.out / CELLS / f"{key}.json"
        try:
            outcome = json.loads(path.read_text(encoding="utf-8"))
            if path.stat().st_mtime < self._since:
                return None
        except (OSError, ValueError):
            return None
        fits = isinstance(outcome, dict) and ("rows" in outcome or outcome.get("status") == "failed")
        return outcome if fits else None
