"""Every editor at several forget sizes: what the table in the README is made of.

    python benchmarks/editors.py --out results/editors.json
    EASYEDIT_HOME=... python benchmarks/editors.py --engine host --out results/editors-host.json

Needs EASYEDIT_UNLEARN_DATA. An interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import Setting, hparams_file, run_grid

EDITORS = ("AlphaEdit", "WISE", "GRACE", "MEMIT", "ROME")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="factual")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--methods", nargs="+", default=list(EDITORS))
    parser.add_argument("--engine", choices=["native", "host"], default="native")
    parser.add_argument("--mode", choices=["auto", "batch", "sequential"], default="auto")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    changes = {"unlearn.engine": options.engine}
    changes |= {"unlearn.mode": options.mode} if options.mode != "auto" else {}
    files = [hparams_file(method, options.engine) for method in options.methods]
    cells = [(size, file, changes) for size in options.sizes for file in files]
    run_grid(Setting.of_task(options.task), cells, options.out)


if __name__ == "__main__":
    main()
