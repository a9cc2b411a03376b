"""The model card of an unlearned checkpoint: ``README.md`` with the Hub's metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from easyedit_unlearn.components import Metric, SetMetric
from easyedit_unlearn.report.markdown import escaped, markdown_table
from easyedit_unlearn.report.table import cells, table_columns
from easyedit_unlearn.report.verdict import made_by, verdict
from easyedit_unlearn.results import Results

_ON_THE_HUB = re.compile(r"[\w.-]+/[\w.-]+")
TAGS = ("unlearning", "model-editing", "easyedit-unlearn")


def model_card(results: Results, metrics: Iterable[Metric | SetMetric], *, base: str, acts_by: str) -> str:
    """What was done by what, what came of it, and how the model is to be used.

    Args:
        base: the model before, as it was named.
        acts_by: "weights", or what else the method acts by: "memory" or "prompt".
    """

    row, before = results.rows[-1], results.before
    columns = [column for column in table_columns(metrics) if column.format != "text"]
    table = cells([before, row] if before else [row], columns)
    lines = [[column.heading, *values] for column, *values in zip(columns, *table, strict=True)]
    parts = [
        f"---\n{_metadata(base)}\n---",
        f"# Unlearned with {escaped(row['label'])}",
        escaped(verdict(row) or ""),
        f"Made by easyedit-unlearn: {escaped('; '.join(made_by(results)))}.",
        _USE[acts_by],
        "What was to be forgotten, and every number, is in `unlearning.json`; `easyedit-unlearn verify DIR` checks the "
        "weights against it, and asks again. A refusal is no proof that a fact is gone.",
        "\n".join(markdown_table(["", *["before"] * bool(before), "after"], lines)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _metadata(base: str) -> str:
    from huggingface_hub import ModelCardData

    on_hub = _ON_THE_HUB.fullmatch(base) and not Path(base).exists()
    about = ModelCardData(
        library_name="transformers", tags=list(TAGS), pipeline_tag="text-generation",
        base_model=base if on_hub else None,
    )  # fmt: skip
    return str(about.to_yaml())


_USE = {
    "weights": "It is an ordinary checkpoint of transformers.",
    "memory": "**Loaded with transformers alone it answers as before**: what it forgot is a memory beside its weights. "
    "`easyedit_unlearn.load_adapters(model, DIR)` attaches it.",
    "prompt": "**Its weights are the base model's**: it acts by the text in `system_prompt.txt`, which must be said "
    "before every question. **That text names what was to be forgotten.**",
}
