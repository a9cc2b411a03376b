"""``bench``: run what is not there yet, then write the leaderboard."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from easyedit_unlearn.bench.bench import Bench
from easyedit_unlearn.bench.executors import EXECUTORS
from easyedit_unlearn.bench.live import Live
from easyedit_unlearn.environment import terminable
from easyedit_unlearn.errors import ConfigError
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.report.pages import FILES
from easyedit_unlearn.report.table import table_columns
from easyedit_unlearn.report.terminal import print_leaderboard


def bench_command(
    file: Path, out: Path, *, executor: str, jobs: int, resume: bool, plugins: Plugins, command: str
) -> int:
    """Run and report; Ctrl-C and SIGTERM leave what is finished, and a report of it. Returns how many cells
    failed."""
    if executor not in EXECUTORS:
        raise ConfigError(f"not an executor; allowed: {', '.join(EXECUTORS)}", key="--executor", value=executor)
    bench = Bench(file, out, plugins, resume=resume)
    console, status = Console(file=sys.stderr), "interrupted"
    names = {key: cell.name for key, cell in bench.cells.items()}
    with terminable(), Live(console, names, len(bench.cells) - len(bench.missing), jobs) as live:
        try:
            bench.run(executor, jobs, live)
            status = "complete"
        finally:
            results = bench.report(command, status)
    print_leaderboard(Console(file=sys.stdout), results, table_columns(plugins.metrics))
    print(f"\nwritten: {out}/{', '.join(FILES)}")  # noqa: T201
    return sum(outcome["status"] != "done" for key, outcome in bench.outcomes.items() if key in bench.cells)
