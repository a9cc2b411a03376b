"""A grid of unlearning runs in one process: rows are written as they come, and finished ones are not run again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console

from easyedit_unlearn import UnlearnHyperParams, api
from easyedit_unlearn.errors import DivergenceError, UnlearnError
from easyedit_unlearn.host.locate import find_host
from easyedit_unlearn.hparams import resolve_path
from easyedit_unlearn.models import load_model
from easyedit_unlearn.pipeline import Run
from easyedit_unlearn.plugins import default_plugins
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.rows import described
from easyedit_unlearn.storage import write_json
from easyedit_unlearn.tasks.splits import parse_source

Cell = tuple[int, str, Mapping[str, Any]]
"""Forget size, hparams file, and what is given in place of what stands there."""

_FILES = {
    ("ROME", "native"): "ROME/smollm2-135m-native",
    ("GRACE", "host"): "GRACE/smollm2-135m-host",
    ("WISE", "host"): "WISE/smollm2-135m-host",
}


def hparams_file(method: str, engine: str) -> str:
    """The shipped file of the embedded model that was made for this engine."""
    return _FILES.get((method, engine), f"{method}/smollm2-135m")


@dataclass(frozen=True)
class Setting:
    """A model and its three sets; ``{size}`` in ``forget`` stands for how many facts."""

    forget: str
    retain: str
    holdout: str
    model: str = "embedded"
    label: str = "SmolLM2-135M-Instruct"
    max_new_tokens: int = 48

    @classmethod
    def of_task(cls, task: str) -> Setting:
        return cls(f"{task}:forget{{size}}", f"{task}:retain", f"{task}:holdout")

    @property
    def sources(self) -> tuple[str, str, str]:
        return self.forget, self.retain, self.holdout


class Grid:
    """One model, and rows in a file: what is there already is not run again, what failed is."""

    def __init__(self, setting: Setting, out: Path) -> None:
        self.setting, self.out = setting, out
        rows = json.loads(out.read_text()) if out.is_file() else []
        self.rows: list[dict[str, Any]] = [row for row in rows if "error" not in row]
        self._bars, self._size = Bars(Console(stderr=True)), 0
        model, length = load_model(setting.model), setting.max_new_tokens
        self.run = Run(model, setting.label, max_new_tokens=length, stage=self._bars.stage)

    def __enter__(self) -> Grid:
        self._bars.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bars.__exit__(*error)

    def select(self, size: int) -> None:
        if size != self._size:
            self._size, tasks = size, default_plugins().tasks
            self.run.select(*(parse_source(text.format(size=size), tasks) for text in self.setting.sources))

    def hparams(self, file: str, overrides: Mapping[str, Any]) -> UnlearnHyperParams:
        length = {"unlearn.max_new_tokens": self.setting.max_new_tokens}
        return UnlearnHyperParams.from_hparams(file, overrides={**length, **overrides})

    def holds(self, cell: str, count: int = 1) -> bool:
        """Whether all the rows of a cell are there; those of one that was interrupted are dropped."""
        if sum(row["cell"] == cell for row in self.rows) >= count:
            return True
        self.rows = [row for row in self.rows if row["cell"] != cell]
        return False

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))
        write_json(self.out, self.rows)
        print(shown(row), flush=True)


def run_grid(setting: Setting, cells: Sequence[Cell], out: Path) -> list[dict[str, Any]]:
    """A row for every cell, all at once or one after the other as the hparams say."""
    with Grid(setting, out) as grid:
        for size, file, overrides in cells:
            cell = named(setting, size, file, overrides)
            if not grid.holds(cell):
                grid.select(size)
                grid.add(one_run(grid.run, grid.hparams(file, overrides)) | {"cell": cell})
    return grid.rows


def run_growing(
    setting: Setting, sizes: Sequence[int], setups: Iterable[tuple[str, Mapping[str, Any]]], out: Path
) -> list[dict[str, Any]]:
    """For every (hparams file, overrides) a row after each of ``sizes`` facts of one sequence of edits.

    Setups that merge to the same edits (five facts in groups of ten) share their rows.
    """
    with Grid(setting, out) as grid:
        for file, overrides in setups:
            cell = named(setting, max(sizes), file, dict(overrides) | {"sizes": list(sizes)})
            if grid.holds(cell, len(sizes)):
                continue
            grid.select(max(sizes))
            hparams = grid.hparams(file, overrides)
            edits = edits_digest(grid.run, hparams, sizes, file, overrides)
            twins = [row for row in grid.rows if row.get("edits") == edits][: len(sizes)]
            rows = [row | described(hparams, row["host"]) for row in twins] if len(twins) == len(sizes) else None
            try:
                for row in rows or grid.run.growing(hparams, sizes):
                    grid.add(row | {"cell": cell, "edits": edits})
            except UnlearnError as error:
                grid.add({**failed(hparams, error), "n_forget": max(sizes), "cell": cell})
    return grid.rows


def named(setting: Setting | None, size: int, file: str, overrides: Mapping[str, Any]) -> str:
    """What decides a cell: its arguments, what the file says now, and which EasyEdit runs."""
    text = hashlib.sha256(resolve_path(file).read_bytes()).hexdigest()[:12]
    where = asdict(setting) if setting else None
    return json.dumps([where, size, file, text, str(find_host()), overrides], sort_keys=True)


def edits_digest(
    run: Run, hparams: UnlearnHyperParams, sizes: Sequence[int], file: str, overrides: Mapping[str, Any]
) -> str:
    """What setups that make the same edits share."""
    settings, forget = hparams.unlearn, run.selection.forget
    targets = api.build_targets(forget, settings)
    steps = [slice(start, stop) for start, stop in pairwise((0, *sizes))]
    requests = [api.build_requests(forget[step], targets[step], settings) for step in steps]
    others = {key: value for key, value in overrides.items() if key != "unlearn.merge"}
    cell = named(None, len(forget), file, others)
    return hashlib.sha256(f"{cell}{requests}".encode()).hexdigest()


def one_run(run: Run, hparams: UnlearnHyperParams) -> dict[str, Any]:
    """The row, or for a run that failed what it was and why; one that diverged is a row too."""
    try:
        with run.unlearned(hparams):
            return dict(run.results.rows[-1])
    except DivergenceError as error:
        run.stopped(hparams, error)
        return dict(run.results.rows[-1])
    except UnlearnError as error:
        return failed(hparams, error) | {"n_forget": len(run.selection.forget)}


def failed(hparams: UnlearnHyperParams, error: UnlearnError) -> dict[str, Any]:
    return {"method": hparams.alg_name, "engine": hparams.engine, "error": str(error)}


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("label", "engine", "n_forget", "n_requests", "seconds", "peak_memory_mb", "ppl_after", "error")
    rates = {k: round(v, 3) for k, v in row.items() if k.endswith(("answer_rate", "refusal_rate")) and v is not None}
    return {k: round(row[k], 1) if isinstance(row[k], float) else row[k] for k in keys if k in row} | rates


def table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Callable[[Mapping[str, Any]], str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(f(row) for f in columns.values()) + " |" for row in rows)]) + "\n"


def count(group: str, metric: str) -> Callable[[Mapping[str, Any]], str]:
    """``17/20``."""

    def text(row: Mapping[str, Any]) -> str:
        n, value = row.get(f"n_prompts_{group}"), row.get(f"{group}_{metric}")
        return "-" if value is None or not n else f"{round(value * n)}/{n}"

    return text


RATES = {
    "given": count("forget", "answer_rate"),
    "refused": count("forget", "refusal_rate"),
    "rephrases given": count("rephrase", "answer_rate"),
    "rephrases refused": count("rephrase", "refusal_rate"),
    "retain kept": count("retain", "answer_rate"),
    "holdout kept": count("holdout", "answer_rate"),
    "refused retain": count("retain", "refusal_rate"),
    "refused holdout": count("holdout", "refusal_rate"),
}
COST = {
    "perplexity": lambda r: f"{r['ppl_after']:.1f}" if r.get("ppl_after") is not None else "-",
    "seconds": lambda r: f"{r['seconds']:.0f}" if r.get("seconds") is not None else "-",
}
