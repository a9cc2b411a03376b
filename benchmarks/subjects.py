"""How often the subject that is found by cause is the one that the data name: the last letter of it lies within that.

python benchmarks/subjects.py [--model embedded]

``known``: of the questions that the model answers, for an answer it does not know hangs on nothing. TOFU and PISTOL are
taught to a copy of the model first. Needs EASYEDIT_UNLEARN_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from easyedit_unlearn.experiment.finetune import FinetuneSettings, finetune
from easyedit_unlearn.experiment.subjects import subject_by_cause
from easyedit_unlearn.model.knowledge import ask_all, knows
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.tasks.facts import Facts
from easyedit_unlearn.tasks.splits import parse_source, pick
from easyedit_unlearn.types import ForgetSample, ModelPair


def named(task: str) -> list[ForgetSample]:
    """The questions of a task that name a subject; those of ``people`` by name, in data that are no task."""
    if task != "people":
        source = parse_source(task, default_plugins().tasks)
        return [sample for sample in pick(source, lambda _: frozenset()) if sample.subject]
    path = Path(os.environ["EASYEDIT_UNLEARN_DATA"], "people", "real_world_forget_perturbed.json")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        ForgetSample(f"people-{n}", row["question"], row["answer"], subject=row["name"])
        for n, row in enumerate(rows)
        if row["question"].count(row["name"]) == 1
    ]


def right(found: str | None, sample: ForgetSample) -> bool:
    """True if the last letter of ``found`` lies within the named subject."""
    if found is None:
        return False
    last = sample.question.index(found) + len(found) - 1
    start = sample.question.index(sample.subject or "")
    return start <= last < start + len(sample.subject or "")


def measured(pair: ModelPair, samples: Sequence[ForgetSample], bars: Bars, task: str) -> str:
    others = [sample.answer for sample in (*Facts().samples(Facts.Options()), *samples)]
    known = [knows(s, reply) for s, reply in zip(samples, ask_all(*pair, samples, progress=bars.progress), strict=True)]
    advance, found = bars.progress(task, len(samples)), []
    for sample in samples:
        found.append(right(subject_by_cause(*pair, replace(sample, subject=None), others), sample))
        advance(1)
    hits = [hit for hit, knew in zip(found, known, strict=True) if knew]
    share = f"{sum(hits)} of {len(hits)} ({100 * sum(hits) / len(hits):.0f} %)" if hits else "-"
    return f"| {task} | {sum(found)} of {len(found)} ({100 * sum(found) / len(found):.0f} %) | {share} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--tasks", nargs="*", default=["facts", "factual", "people", "zsre:first200"])
    parser.add_argument("--taught", nargs="*", default=["pistol:first100", "tofu,subset=forget05:first100"])
    given = parser.parse_args()
    print("| task | all | known |\n|---|---|---|")
    with Bars(Console(file=sys.stderr)) as bars:
        pair = load_model(given.model)
        for task in given.tasks:
            print(measured(pair, named(task), bars, task), flush=True)
        for task in given.taught:
            pair, samples = load_model(given.model), named(task)
            finetune(pair, samples, FinetuneSettings(), progress=bars.progress)
            print(measured(pair, samples, bars, f"{task}, taught"), flush=True)


if __name__ == "__main__":
    main()
