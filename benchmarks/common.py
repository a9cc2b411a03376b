"""A grid of unlearning runs in one process: rows are written as they come, and finished ones are not run again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from easyedit_unlearn import UnlearnHyperParams, api
from easyedit_unlearn.errors import UnlearnError
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


def run_grid(task: str, cells: Sequence[Cell], out: Path, *, label: str = "SmolLM2-135M-Instruct") -> list[dict]:
    """Every cell on the embedded model and ``{task}:forget{size}``; rows, also in ``out``. Cells that failed are tried
    again."""
    rows = json.loads(out.read_text()) if out.is_file() else []
    rows = [row for row in rows if "error" not in row]
    done = {row["cell"] for row in rows}
    tasks, pair = default_plugins().tasks, load_model("embedded")
    with Bars(Console(stderr=True)) as bars:
        run, cut = Run(pair, label, stage=bars.stage), 0
        for size, file, overrides in cells:
            cell = named(task, size, file, overrides)
            if cell in done:
                continue
            if size != cut:
                cut = size
                run.select(*(parse_source(f"{task}:{part}", tasks) for part in (f"forget{size}", "retain", "holdout")))
            hparams = UnlearnHyperParams.from_hparams(file, overrides=overrides)
            edits = edits_digest(run, hparams, file, overrides)
            twin = next((row for row in rows if edits and row["edits"] == edits and "error" not in row), None)
            row = twin | described(hparams, twin["host"]) if twin else one_run(run, hparams)
            rows.append(row | {"cell": cell, "edits": edits, "same_as": twin["cell"] if twin else None})
            write_json(out, rows)
            print(shown(row), flush=True)
    return rows


def named(task: str, size: int, file: str, overrides: Mapping[str, Any]) -> str:
    """What decides a cell: its arguments, what the file says now, and which EasyEdit runs."""
    text = hashlib.sha256(resolve_path(file).read_bytes()).hexdigest()[:12]
    return json.dumps([task, size, file, text, str(find_host()), overrides], sort_keys=True)


def edits_digest(run: Run, hparams: UnlearnHyperParams, file: str, overrides: Mapping[str, Any]) -> str | None:
    """What two cells that make the same edits share: groups of ten out of five facts are groups of five. None where
    the targets come from a model."""
    settings, forget = hparams.unlearn, run.selection.forget
    if settings.builder.name not in ("fixed", "template", "empty"):
        return None
    requests = api.build_requests(forget, api.build_targets(forget, settings), settings)
    others = {key: value for key, value in overrides.items() if key != "unlearn.merge"}
    cell = named("", len(forget), file, others)
    return hashlib.sha256(f"{cell}{requests}".encode()).hexdigest()


def one_run(run: Run, hparams: UnlearnHyperParams) -> dict[str, Any]:
    """The row, or for a run that failed what it was and why."""
    try:
        with run.unlearned(hparams):
            return dict(run.results.rows[-1])
    except UnlearnError as error:
        return {
            "method": hparams.alg_name, "engine": hparams.engine, "n_forget": len(run.selection.forget),
            "error": str(error),
        }  # fmt: skip


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
