"""Every method on twenty facts, editors and baselines in one table.

    python benchmarks/methods.py --out results/methods
    python benchmarks/methods.py --taught TAUGHT --out results/taught

The first is what the model knew before, the task factual. The second is what it was taught: TAUGHT is a checkpoint made
by `easyedit-unlearn finetune --data tofu:first20 --data tofu,subset=retain90:first20 --out TAUGHT`. Writes OUT.json and
OUT.md. Needs EASYEDIT_UNLEARN_DATA. An interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import COST, RATES, Setting, hparams_file, named, run_grid, table
from editors import EDITORS

from easyedit_unlearn.storage import write_text
from easyedit_unlearn.tasks.tofu import AUTHOR

BASELINES = ("LUNAR", "PO", "DPO", "NPO", "SimNPO", "IDK+AP", "UNDIAL", "WGA", "SatImp", "CEU", "PDU", "RMU", "KL",
             "GradDiff", "GA", "TaskVector", "ICR")  # fmt: skip
ONE_VALUE = {"merger": "shared_value", "size": AUTHOR, "grouping": "subject"}
"""TOFU's questions about an author have all but one key, which can have but one value."""
COLUMNS = {
    "": lambda r: r["label"],
    **RATES,
    **COST,
    "peak MB": lambda r: f"{r['peak_memory_mb']:.0f}" if r.get("peak_memory_mb") else "-",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--taught", type=Path, help="a checkpoint that was taught TOFU's questions")
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--methods", nargs="+", default=[*EDITORS, *BASELINES])
    parser.add_argument("--out", type=Path, required=True, help="without an ending")
    options = parser.parse_args()
    setting = Setting.of_task("factual")
    if options.taught:
        setting = Setting(
            "tofu:first{size}", "tofu,subset=retain90:first20", "factual:holdout", str(options.taught),
            "SmolLM2-135M-Instruct, taught", 96,
        )  # fmt: skip
    merges = [{}, {"unlearn.merge": ONE_VALUE}] if options.taught else [{}]
    cells = [
        (options.size, hparams_file(method, "native"), {"unlearn.engine": "native"} | merge)
        for method in options.methods
        for merge in (merges if method in EDITORS else [{}])
    ]
    every = run_grid(setting, cells, options.out.with_suffix(".json"))
    found = {row["cell"]: row for row in every}
    rows = [found[cell] for cell in (named(setting, *cell) for cell in cells) if "error" not in found[cell]]
    write_text(options.out.with_suffix(".md"), table(rows, COLUMNS))


if __name__ == "__main__":
    main()
