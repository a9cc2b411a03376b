"""A user's own questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from easyedit_unlearn.components import Options, Task
from easyedit_unlearn.tasks.fields import FIELDS
from easyedit_unlearn.tasks.records import read_file
from easyedit_unlearn.types import ForgetSample


class JsonlOptions(Options):
    """``path``: JSON lines, a JSON list or mapping, CSV, TSV or Parquet. The others: what the file calls our fields,
    where it has names of its own; a path with dots for what lies deeper (``answers.text.0``)."""

    path: Path
    question: str | None = None
    answer: str | None = None
    subject: str | None = None
    rephrases: str | None = None
    aliases: str | None = None
    id: str | None = None
    response: str | None = None


class Jsonl(Task):
    """A row a question: ``question`` and ``answer``, optionally ``id``, ``aliases``, ``subject``, ``rephrases`` and
    ``response`` (a full reply that holds the fact); or ``text``, a plain text, for metrics of likelihood and membership
    (``evaluate`` alone reads those)."""

    name = "jsonl"
    Options = JsonlOptions

    def samples(self, options: JsonlOptions) -> Sequence[ForgetSample]:
        return read_file(options.path, {field: name for field in FIELDS if (name := getattr(options, field))})
