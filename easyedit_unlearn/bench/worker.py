"""A process of its own for one job: ``python -m easyedit_unlearn.bench.worker``.

The job is a line of JSON on standard input, which stays open for as long as the parent lives. Progress and the outcome
are lines of JSON on standard output; whatever else prints, prints to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from easyedit_unlearn.bench.cells import Outcome, failed, run_cell, teach
from easyedit_unlearn.bench.grid import Cell
from easyedit_unlearn.storage import finite


def main() -> None:
    """Read, run, answer."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(kind: str, value: Any) -> None:
        channel.write(json.dumps({kind: finite(value)}, allow_nan=False) + "\n")
        channel.flush()

    def progress(what: str, total: int) -> Callable[[int], None]:
        done = 0
        tell("progress", [what, 0, total])

        def advance(count: int) -> None:
            nonlocal done
            done += count
            tell("progress", [what, done, total])

        return advance

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tell("outcome", run_job(job, progress))
    channel.close()


def run_job(job: dict[str, Any], progress: Any) -> Outcome:
    """``{"cell": ..., "model": folder or null, "teach": folder or null}``: teach a model, or run a cell."""
    from pathlib import Path

    cell = Cell.model_validate(job["cell"])
    if not job.get("teach"):
        return run_cell(cell, job.get("model"), progress)
    try:
        teach(cell, Path(job["teach"]), progress)
    except Exception as error:
        return failed(str(error))
    return {"status": "done"}


def _end_with_parent() -> None:
    sys.stdin.read()  # ends when the parent does, however that ended
    os._exit(1)


if __name__ == "__main__":
    main()
