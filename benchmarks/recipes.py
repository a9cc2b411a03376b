"""The two recipes, measured: self-improved refusals against a fixed one, and merged queries against unmerged.

    python benchmarks/recipes.py refusals --out results
    python benchmarks/recipes.py merging --out results
    EASYEDIT_HOME=... python benchmarks/recipes.py merging --engine host --out results

Writes tables and pictures (.md, .png) and their rows (.json) into the folder. Needs EASYEDIT_UNLEARN_DATA. An
interrupted run goes on where it was. Merging is one sequence over 40 facts, looked at after 5, 10, 20 and 40; the table
is of all that was run into the folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import COST, RATES, Setting, hparams_file, run_grid, run_growing, table

from easyedit_unlearn.report.recipes import merging_chart, refusal_chart
from easyedit_unlearn.storage import replace_file, write_text

MERGERS = (
    "none",
    "concat:2",
    "concat:2:similarity",
    "concat:5",
    "concat:10",
    "by_subject",
    "shared_value:5",
    "shared_value:10",
)
ALIGNMENT = {
    "model's own": lambda r: _share(r, "written_by_model"),
    "name the subject": lambda r: _share(r, "specificity"),
    "leak": lambda r: _share(r, "leakage"),
    "different": lambda r: _share(r, "unique"),
    "their perplexity": lambda r: f"{r['refusals']['perplexity']:.1f}" if r["refusals"] else "-",
}
ABOUT = {"method": lambda r: f"{r['method']}, {r['engine']}", "facts": lambda r: str(r["n_forget"])}


def _share(row: Mapping[str, Any], key: str) -> str:
    return f"{100 * row['refusals'][key]:.0f} %" if row["refusals"] else "-"


def refusals(options: argparse.Namespace) -> None:
    cells = [
        (size, f"{method}/smollm2-135m", {"unlearn.target": {"builder": builder}})
        for size in options.sizes or [20]
        for method in options.methods or ("AlphaEdit", "WISE", "PO", "GradDiff")
        for builder in (options.builders if method != "GradDiff" else options.builders[:1])  # it trains on none
    ]
    rows = [
        r for r in run_grid(Setting.of_task(options.task), cells, options.out / "refusals.json") if "error" not in r
    ]
    columns = {"method": lambda r: r["method"], "target": lambda r: r["target"], **ALIGNMENT, **RATES, **COST}
    write_text(options.out / "refusals.md", table(rows, columns) + "\n![The same as bars](refusals.png)\n")
    replace_file(options.out / "refusals.png", refusal_chart(rows))


def merging(options: argparse.Namespace) -> None:
    sizes = options.sizes or [5, 10, 20, 40]
    for method in options.methods or ("ROME", "MEMIT"):
        setups = []
        for name in options.mergers:
            merger, k, grouping = (*name.split(":"), "", "")[:3]
            if merger == "shared_value" and options.engine == "host":
                continue  # ours alone
            merge = {"merger": merger} | ({"size": int(k)} if k else {}) | ({"grouping": grouping} if grouping else {})
            changes = {"unlearn.merge": merge, "unlearn.engine": options.engine, "unlearn.mode": "sequential"}
            setups.append((hparams_file(method, options.engine), changes))
        out = options.out / f"merging-{options.engine}-{method}.json"
        run_growing(Setting.of_task(options.task), sizes, setups, out)
    found = sorted(options.out.glob("merging-*.json"))
    rows = [row for path in found for row in json.loads(path.read_text()) if "error" not in row]
    order = [merger.replace(":", " ") for merger in MERGERS]
    place = {merge: number for number, merge in enumerate(order)}
    rows.sort(key=lambda r: (r["engine"], r["method"], r["n_forget"], place.get(r["merge"], len(order))))
    columns = {**ABOUT, "merging": lambda r: r["merge"], "edits": lambda r: str(r["n_requests"]), **RATES, **COST}
    whole = table(rows, columns) + "\n![The same as curves](merging.png)\n"
    write_text(options.out / "merging.md", f"{long_sequences(rows)}\nAll that was measured:\n\n{whole}")
    replace_file(options.out / "merging.png", merging_chart(rows))


def long_sequences(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line a merging: the last two sizes side by side."""
    sizes = sorted({row["n_forget"] for row in rows})[-2:]
    groups: dict[tuple[str, str, str], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["engine"], row["merge"]), {})[row["n_forget"]] = row
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "method": lambda r: f"{r['method']}, {r['engine']}",
        "merging": lambda r: r["merge"],
    }
    for size in sizes:
        for name in ("given", "rephrases given", "retain kept", "holdout kept"):
            columns[f"{size}: {name}"] = lambda r, size=size, name=name: RATES[name](r["by_size"].get(size, {}))  # type: ignore[misc]
    columns |= {"edits": lambda r: str(r["n_requests"]), **COST}
    return table([{**max(g.values(), key=lambda r: r["n_forget"]), "by_size": g} for g in groups.values()], columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=["refusals", "merging"])
    parser.add_argument("--task", default="factual")
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--builders", nargs="+", default=["fixed", "self_improve"])
    parser.add_argument("--mergers", nargs="+", default=list(MERGERS))
    parser.add_argument("--engine", choices=["native", "host"], default="native")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    {"refusals": refusals, "merging": merging}[options.recipe](options)


if __name__ == "__main__":
    main()
