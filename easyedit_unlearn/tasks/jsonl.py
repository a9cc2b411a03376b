"""A user's own questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from easyedit_unlearn.components import Options, Task
from easyedit_unlearn.tasks.records import read_jsonl
from easyedit_unlearn.types import ForgetSample


class JsonlOptions(Options):
    path: Path


class Jsonl(Task):
    """One JSON object a line: ``question`` and ``answer``, optionally ``id``, ``aliases``, ``subject``, ``rephrases``
    and ``response`` (a full reply that holds the fact); or ``text``, a plain text, for metrics of likelihood and
    membership (``evaluate`` alone reads those)."""

    name = "jsonl"
    Options = JsonlOptions

    def samples(self, options: JsonlOptions) -> Sequence[ForgetSample]:
        return read_jsonl(options.path)
