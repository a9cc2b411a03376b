"""Cut the three disjoint sets of a run out of tasks.

Splits: ``all``, or ``firstN`` of them, known or not; ``forgetN``, the first N samples that the model knows; ``retain``
and ``holdout``, the other known samples in turn (first to retain, second to holdout, and so on), each optionally with a
number: ``retain10``.
A method may use the retain set; the holdout set is only ever evaluated.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from easyedit_unlearn.components import Task
from easyedit_unlearn.errors import ConfigError, DataError, UnlearnWarning
from easyedit_unlearn.plugins.registry import Registry
from easyedit_unlearn.tasks.records import check_samples
from easyedit_unlearn.tasks.rows import SUFFIXES
from easyedit_unlearn.tasks.twins import Twins, apart, twins
from easyedit_unlearn.types import ForgetSample

Knows = Callable[[Sequence[ForgetSample]], frozenset[str]]
"""Which of these samples the model answers, as their keys."""
_SPLIT = re.compile(r"(?P<kind>all|first|forget|retain|holdout)(?P<size>[1-9]\d*)?\Z")


@dataclass(frozen=True)
class Source:
    """A task with its options and a split, as a config or the command line names it."""

    task: Task
    options: BaseModel
    split: str = "all"

    def __str__(self) -> str:
        given = self.options.model_dump(mode="json", exclude_defaults=True)
        name = given.pop("path", self.task.name)
        return f"{','.join([name, *(f'{key}={value}' for key, value in given.items())])}:{self.split}"


def parse_source(text: str, tasks: Registry[Task]) -> Source:
    """``TASK[,OPTION=VALUE...][:SPLIT]`` or ``FILE[,FIELD=NAME...][:SPLIT]``; a registered task's name wins over a file
    of the same name.

    Raises:
        UnknownNameError: neither a task nor a file. ConfigError: a bad split, or an option the task does not have.
    """
    readings = [(text, "all"), *([tuple(text.rsplit(":", 1))] if ":" in text else [])]
    if _SPLIT.match(readings[-1][1]):
        readings.reverse()  # a value may hold a colon
    for name, split in readings:
        task, *options = name.split(",")
        if task in tasks and all("=" in option for option in options):
            given = dict(option.split("=", 1) for option in options)
            _check_options(given, text, path=True)
            return make_source({**given, "task": task, "split": split}, tasks)
        if Path(name).is_file():
            return make_source({"task": "jsonl", "path": name, "split": split}, tasks)
        if options and Path(task).is_file() and all("=" in option for option in options):
            given = dict(option.split("=", 1) for option in options)
            _check_options(given, text)
            return make_source({**given, "task": "jsonl", "path": task, "split": split}, tasks)
    name = text.rsplit(":", 1)[0]
    file = name.split(",", 1)[0]
    if "/" in file or file.endswith(SUFFIXES):
        raise DataError(f"{file}: no such file")
    tasks.get(name)
    raise AssertionError("unreachable")  # tasks.get has raised


def _check_options(given: Mapping[str, str], text: str, *, path: bool = False) -> None:
    for key in given:
        if key in ("split", "task") or (key == "path" and not path):
            raise ConfigError(f"is no option; a split stands after a colon (FILE:first5), in {text!r}", key=key)


def make_source(block: dict[str, Any], tasks: Registry[Task], file: str | None = None, where: str = "") -> Source:
    """From a config block: ``{task: facts, split: retain10, ...the task's own options}``."""
    rest = dict(block)
    task = tasks.get(str(rest.pop("task", "")))
    split = str(rest.pop("split", "all"))
    parse_split(split, file=file, key=f"{where}split")
    try:
        return Source(task, task.Options.model_validate(rest), split)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        allowed = ", ".join(["task", "split", *task.Options.model_fields])
        raise ConfigError(
            f"{first['msg']} (allowed here: {allowed})", file=file, key=f"{where}{name}", value=rest.get(name)
        ) from None


def parse_split(split: str, **where: Any) -> tuple[str, int | None]:
    match = _SPLIT.match(split)
    if (
        not match
        or (match["kind"] in ("first", "forget") and not match["size"])
        or (match["kind"] == "all" and match["size"])
    ):
        raise ConfigError(
            "not a split; allowed: all, firstN, forgetN, retain, retainN, holdout, holdoutN",
            value=split,
            **{"key": "split"} | where,
        )
    return match["kind"], int(match["size"]) if match["size"] else None


def load(source: Source) -> list[ForgetSample]:
    """All samples of the source's task, checked. Raises DataError."""
    samples = list(source.task.samples(source.options))
    check_samples(samples, [f"task {source.task.name}, sample {s.id}" for s in samples], f"task {source.task.name}")
    return samples


def pick(source: Source, knows: Knows, taken: Sequence[ForgetSample] = ()) -> list[ForgetSample]:
    """The samples of one source; ``retain`` and ``holdout`` leave out what is ``taken`` (the forget set), also where it
    is asked for in other words, with a warning, and of facts that are asked for twice all but the first.

    ``all`` and ``firstN`` are taken as they stand: an overlap there is the caller's mistake and is refused by
    :func:`check_disjoint`.

    Raises:
        DataError: the model knows too few for the split.
    """
    samples, (kind, size) = load(source), parse_split(source.split)
    if kind == "all":
        return samples
    if kind == "first":
        if len(samples) < (size or 1):
            raise DataError(f"{source}: the task has only {len(samples)} samples")
        return samples[:size]
    known_keys = knows(samples)
    known = [sample for sample in samples if sample.key in known_keys]
    if kind != "forget":
        used = {sample.key for sample in taken} | _asked_again(known, taken, source)
        rest = apart([sample for sample in known if sample.key not in used])
        known = rest[0::2] if kind == "retain" else rest[1::2]
    if len(known) < (size or 1):
        raise DataError(f"{source}: the model knows only {len(known)} of the {size or 1} facts this split needs")
    return known[:size]


def _asked_again(samples: Sequence[ForgetSample], taken: Sequence[ForgetSample], source: Source) -> set[str]:
    """The keys of what asks for a fact of ``taken`` in other words."""
    pairs = twins(samples, taken)
    pairs = [(one, other) for one, other in pairs if one.key not in {sample.key for sample in taken}]
    if pairs:
        _warn_of_twins(f"{source}: leaves out", pairs)
    return {one.key for one, _ in pairs}


def _warn_of_twins(begin: str, pairs: Sequence[Twins]) -> None:
    shown = "; ".join(f"{one.question!r} (as {other.question!r})" for one, other in pairs[:3])
    more = f", and {len(pairs) - 3} more" if len(pairs) > 3 else ""
    warnings.warn(f"{begin} what is asked for in other words: {shown}{more}", UnlearnWarning, stacklevel=3)


def check_disjoint(**groups: Sequence[ForgetSample]) -> None:
    """Raise DataError when one question stands in two of the sets; warn where one fact does, in other words."""
    owner: dict[str, str] = {}
    for group, samples in groups.items():
        for sample in samples:
            other = owner.setdefault(sample.key, group)
            if other != group:
                raise DataError(
                    f"the {other} set and the {group} set overlap: {sample.question!r} stands in both; "
                    "an honest table needs them disjoint"
                )
    for name in ("retain", "holdout"):
        if pairs := twins(groups.get(name, ()), groups.get("forget", ())):
            _warn_of_twins(f"the forget set and the {name} set share", pairs)
