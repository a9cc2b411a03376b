"""Every editor at several forget sizes, in one process: what the table in the README is made of.

    python benchmarks/editors.py --out results/editors.json
    EASYEDIT_HOME=... python benchmarks/editors.py --engine host --out results/editors-host.json

Needs EASYEDIT_UNLEARN_DATA. Rows are written as they come, so that an interrupted run keeps what it has.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from easyedit_unlearn import UnlearnHyperParams
from easyedit_unlearn.hparams import resolve_path
from easyedit_unlearn.models import load_model
from easyedit_unlearn.pipeline import Run
from easyedit_unlearn.plugins import default_plugins
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.storage import write_json
from easyedit_unlearn.tasks.splits import parse_source

EDITORS = ("AlphaEdit", "WISE", "GRACE", "MEMIT", "ROME")


def hparams_for(method: str, model: str, engine: str, mode: str) -> UnlearnHyperParams:
    """The shipped hparams with another engine and mode."""
    values: dict[str, Any] = yaml.safe_load(resolve_path(f"{method}/{model}").read_text(encoding="utf-8"))
    values["unlearn"] |= {"engine": engine} | ({"mode": mode} if mode != "auto" else {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{method}.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return UnlearnHyperParams.from_hparams(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="factual")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--methods", nargs="+", default=list(EDITORS))
    parser.add_argument("--engine", choices=["native", "host"], default="native")
    parser.add_argument("--mode", choices=["auto", "batch", "sequential"], default="auto")
    parser.add_argument("--hparams", default="smollm2-135m", help="which of the shipped files of each method")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tasks, rows = default_plugins().tasks, []
    pair = load_model("embedded")
    with Bars(Console(stderr=True)) as bars:
        for size in options.sizes:
            run = Run(pair, "SmolLM2-135M-Instruct", stage=bars.stage)
            run.select(
                *(parse_source(f"{options.task}:{part}", tasks) for part in (f"forget{size}", "retain", "holdout"))
            )
            for method in options.methods:
                with run.unlearned(hparams_for(method, options.hparams, options.engine, options.mode)):
                    row = run.results.rows[-1] | {"mode": options.mode}
                rows.append(row)
                write_json(options.out, rows)
                shown = {k: row[k] for k in ("method", "engine", "n_forget", "seconds", "peak_memory_mb")}
                shown |= {
                    k: round(v, 3)
                    for k, v in row.items()
                    if k.endswith(("answer_rate", "refusal_rate")) and v is not None
                }
                print(shown, flush=True)


if __name__ == "__main__":
    main()
