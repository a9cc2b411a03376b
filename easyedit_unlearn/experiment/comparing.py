"""Several finished runs, or several checkpoints asked the same, in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.errors import DataError, UnlearnError
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.evaluate import evaluate
from easyedit_unlearn.experiment.rejudge import read_results
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.checkpoint import recorded_knowledge, system_prompt_of
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.results import Record, Results, Row


def side_by_side(folders: Sequence[Path]) -> Results:
    """The rows and records of folders that ``run``, ``evaluate``, ``demo`` or ``bench`` wrote, all of which asked the
    same prompts. What is called the same is told apart by its folder, and in a bench by its setting.

    Raises:
        DataError: a folder holds no results, or they asked other prompts, so that their shares are of other facts.
    """
    paths = [str(folder) for folder in folders]
    if len(set(map(_real, folders))) < len(folders):
        raise DataError("the same folder is named twice")
    read = [(_unique(path, paths), read_results(folder)) for path, folder in zip(paths, folders, strict=True)]
    runs = {
        (name, setting): {_prompt(one) for one in results.samples if one.get("setting") == setting}
        for name, results in read
        for setting in dict.fromkeys(row.get("setting") for row in results.rows)
    }
    _check_alike(runs)
    labels = Counter(row["label"] for _, results in read for row in results.rows)
    found = Results(before=next((r.before for _, r in read if r.before), None), status="complete")
    for name, results in read:
        several = len({row.get("setting") for row in results.rows}) > 1
        called = {
            (row["label"], row.get("setting")): _called(row, name, labels, several=several) for row in results.rows
        }
        for row in results.rows:
            found.rows.append({**row, "label": called[row["label"], row.get("setting")], "setting": ""})
        for one in results.samples:
            key = one["method"], one.get("setting")
            if key in called:
                found.samples.append({**one, "method": called[key], "setting": ""})
    return found


def _check_alike(runs: Mapping[tuple[str, Any], set[tuple[str, str]]]) -> None:
    (first, wanted), *others = runs.items()
    for other, asked in others:
        if asked != wanted:
            names = [" ".join(filter(None, run)) for run in (first, other)]
            raise DataError(
                f"{names[0]} and {names[1]} asked other prompts ({len(wanted - asked)} of the one and "
                f"{len(asked - wanted)} of the other alone), so their shares are of other facts: run them on the same "
                "sets, or ask their checkpoints the same (--forget)"
            )


def _real(folder: Path) -> Path:
    return folder.resolve()


def asked_alike(
    models: Sequence[str], config: EvalConfig, *, reference: str | None = None, plugins: Plugins | None = None,
    where: Mapping[str, Any] | None = None, progress: Progress = no_progress,
) -> Results:  # fmt: skip
    """A row for each checkpoint, all asked the same sets: what counts as known is what ``reference`` knows, else what
    lies beside the first checkpoint that has a record.

    Raises:
        UnlearnError: a model does not load. DataError: a set cannot be read.
    """
    if len({_real(Path(model)) for model in models}) < len(models):
        raise DataError("the same checkpoint is named twice")
    records = [recorded_knowledge(Path(model)) for model in models]
    known = next((record for record in records if record is not None), None)
    found, replies = Results(status="complete"), None
    if reference is not None:
        before = Run(load_model(reference, **(where or {})), config, plugins=plugins, progress=progress)
        before.select(must_know=False)
        before.evaluate_before()
        found.before, known, replies = before.results.before, before.knowledge.known, before.knowledge.replies
    for model in models:
        one = evaluate(
            *load_model(model, **(where or {})), config, known=known, replies=replies, plugins=plugins,
            progress=progress, system_prompt=system_prompt_of(Path(model)), label=Path(model).name,
        )  # fmt: skip
        label = _unique(model, models)
        method = "as it stands" if known is None else "checkpoint"  # of what it knew before nothing can be said then
        found.rows += [{**row, "method": method, "label": label} for row in one.rows]
        found.samples += [{**record, "method": label} for record in one.samples]
    return found


def folders_or_models(paths: Sequence[str]) -> tuple[list[Path], list[str]]:
    """What are folders of results, and what are models. Raises UnlearnError where both are among them."""
    results = [Path(path) for path in paths if (Path(path) / "results.json").is_file()]
    models = [path for path in paths if not (Path(path) / "results.json").is_file()]
    if results and models:
        raise UnlearnError(
            f"{results[0]} holds results and {models[0]} does not: compare runs with runs, or checkpoints with "
            f"checkpoints ({results[0]}/model)"
        )
    return results, models


def _prompt(record: Record) -> tuple[str, str]:
    return record["group"], record["question"]


def _called(row: Row, folder: str, labels: Mapping[str, int], *, several: bool) -> str:
    if labels[row["label"]] == 1:
        return row["label"]
    setting = row.get("setting")
    return f"{row['label']} [{folder}{f', {setting}' if several and setting else ''}]"


def _unique(model: str, models: Sequence[str]) -> str:
    """The folder's name, or as much of its path as tells it from the others."""
    parts = Path(model).parts
    for length in range(1, len(parts) + 1):
        name = "/".join(parts[-length:])
        if sum("/".join(Path(other).parts[-length:]) == name for other in models) == 1:
            return name
    return model
