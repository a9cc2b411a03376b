"""``questions``: what a model asks and answers about a topic, as a file to edit."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from easyedit_unlearn.components import Progress
from easyedit_unlearn.errors import OutputExistsError
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.topics import Topic, asked_about, neighbours_of, with_rephrases, write_questions
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.report.terminal import print_rows, short
from easyedit_unlearn.storage import check_file, json_lines, write_text
from easyedit_unlearn.tasks.given import GivenSamples
from easyedit_unlearn.types import ForgetSample, ModelPair


def questions_command(
    topic: Topic,
    model: str,
    out: Path,
    neighbours: Path | None,
    *,
    again: bool,
    overwrite: bool,
    where: Mapping[str, Any],
) -> None:
    """Write the files and show what is in them. Raises DataError when the model cannot."""
    for path in (out, neighbours):
        if path is not None:
            check_file(path, overwrite=overwrite)
    if neighbours is not None and neighbours.resolve() == out.resolve():
        raise OutputExistsError(f"--out and --neighbours are both {out}; name two files")
    others: Sequence[ForgetSample] = ()
    with Bars(Console(file=sys.stderr)) as bars:
        pair = load_model(model, **where)
        found = write_questions(pair, topic, again=again, progress=bars.progress)
        if not again:
            found = with_rephrases(pair, found, seed=topic.seed, progress=bars.progress)
        if neighbours is not None:
            others = neighbours_of(pair, topic, progress=bars.progress)
    if neighbours is not None and not others:
        Console(stderr=True).print(
            Text(f"{neighbours}: the model names no neighbours that it can ask about; not written")
        )
    for path, samples in ((out, found), (neighbours, others)):
        if path is not None and samples:
            write_text(path, json_lines(map(_record, samples)))
            _show(f"{path}: {len(samples)} questions", samples)


TOPIC = "topic.jsonl"
"""In --out of ``run --topic``: what was asked about it."""


def about_topic(topic: Topic, pair: ModelPair, config: EvalConfig, progress: Progress) -> tuple[EvalConfig, bytes]:
    """Have the model write what is to be forgotten, and show it: the config with that, with a second round as the group
    ``again``, and with neighbours where no holdout is named; and what ``TOPIC`` is to hold.

    Raises:
        DataError: it cannot.
    """
    first, again = asked_about(pair, topic, style=config.prompt, progress=progress)
    others = [] if config.holdout else neighbours_of(pair, topic, style=config.prompt, progress=progress)
    _show(f"{topic.name}: {len(first)} questions", first)
    found = replace(config, forget=GivenSamples.source(first))
    found = replace(found, also={**config.also, "again": GivenSamples.source(again)}) if again else found
    found = replace(found, holdout=GivenSamples.source(others)) if others else found
    return found, json_lines(map(_record, first)).encode("utf-8")


def _show(title: str, samples: Sequence[ForgetSample]) -> None:
    rows = [(short(s.question), short(s.answer), s.subject or "") for s in samples]
    print_rows(Console(), title, ("question", "the model's answer", "subject"), rows)


def _record(sample: ForgetSample) -> dict[str, Any]:
    record = {"question": sample.question, "answer": sample.answer, "subject": sample.subject}
    return record | ({"rephrases": list(sample.rephrases)} if sample.rephrases else {})
