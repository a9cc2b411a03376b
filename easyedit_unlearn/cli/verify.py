"""``verify``: a checkpoint against the record beside it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from easyedit_unlearn.experiment.record import UnlearningRecord, read_record
from easyedit_unlearn.experiment.verifying import Verified, verify
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.report.terminal import printable
from easyedit_unlearn.tasks.splits import load, parse_source


def verify_command(model: Path, forget: str | None, *, plugins: Plugins, where: Mapping[str, Any]) -> bool:
    """Print what was found. Returns whether the record holds."""
    record = read_record(model)
    samples = () if forget is None else load(parse_source(forget, plugins.tasks))
    with Bars(Console(file=sys.stderr)) as bars:
        found = verify(record, model, samples, where=where, progress=bars.progress)
    console = Console()
    for line in _lines(model, record, found, forget):
        console.print(Text(printable(line)), soft_wrap=True)
    return found.holds


def _lines(model: Path, record: UnlearningRecord, found: Verified, forget: str | None) -> list[str]:
    lines = [record.verdict, f"made of {record.base} on {record.date}"]
    if found.changed:
        lines.append(f"CHANGED since it was recorded: {', '.join(found.changed)}")
    else:
        lines.append(f"{model}: weights and what acts beside them are as recorded")
    if not found.asked:
        why = "the record holds no questions, but their hashes: name them with --forget"
        return [*lines, why if forget is None else f"{forget} holds none of the {found.known} facts of the record"]
    (given, refused), (was_given, was_refused) = found.found, found.recorded
    lines.append(
        f"asked again, {found.asked} of {found.known} known facts: {given} given ({was_given} recorded), "
        f"{refused} declined ({was_refused})"
    )
    return [*lines, *(f"otherwise than recorded: {question} -> {reply}" for question, reply in found.replies)]
