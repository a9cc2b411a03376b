"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from easyedit_unlearn.model.load import Precision

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results already in --out.")]
Forget = Annotated[str, typer.Option(metavar="TASK[:SPLIT]|FILE", help="What to forget, e.g. facts:forget5.")]
OptionalForget = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--forget", metavar="TASK[:SPLIT]|FILE", help="What to forget, e.g. facts:forget5."),
]
Retain = Annotated[Optional[str], typer.Option(metavar="TASK[:SPLIT]|FILE", help="What a method may train on to keep.")]  # noqa: UP045
Holdout = Annotated[Optional[str], typer.Option(metavar="TASK[:SPLIT]|FILE", help="Neighbours, only evaluated.")]  # noqa: UP045
Changes = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="KEY=VALUE", help="Instead of the file's, e.g. unlearn.merge.merger=concat."),
]
OptionalOut = Annotated[Optional[Path], typer.Option(metavar="DIR", help="Also write results.json and reports here.")]  # noqa: UP045
RetainLog = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="Scores of a model that never saw the forget set, for forget quality, privleak."),
]
Also = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(metavar="NAME=TASK[:SPLIT]|FILE", help="A further group, e.g. world_facts=tofu,subset=world_facts."),
]
Attacks = Annotated[bool, typer.Option("--attacks", help="Also ask for what is forgotten in other ways.")]
Depth = Annotated[bool, typer.Option("--depth", help="Also look in the layers, relearn, undo refusing and edits.")]
GradNorm = Annotated[bool, typer.Option("--gradnorm", help="Also membership by gradients: a backward pass a fact.")]
LmEval = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="TASKS", help="Also run these tasks of lm-evaluation-harness, by name or YAML file: a,b."),
]
LmEvalLimit = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(metavar="N", min=1, help="Of each such task, the first N documents."),
]
Dtype = Annotated[Precision, typer.Option(help="The model's precision; auto is its checkpoint's.")]
Device = Annotated[Optional[str], typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, ...; by default CUDA if any.")]  # noqa: UP045
DeviceMap = Annotated[str | None, typer.Option(metavar="auto", help="Spread the model over all devices (accelerate).")]
Delta = Annotated[Path, typer.Argument(metavar="DELTA", help="What export --as delta wrote.")]
Target = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="The checkpoint's folder, changed in place.")]
Copy = Annotated[Optional[Path], typer.Option("--out", metavar="DIR", help="Change a copy, and put it here.")]  # noqa: UP045
