"""What else a model can do, by lm-evaluation-harness's tasks: of what was retained, a measure that is not ours."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import yaml

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.environment import own_random_state
from easyedit_unlearn.errors import ConfigError, UnlearnError, suggest
from easyedit_unlearn.model.inference import pad_id
from easyedit_unlearn.model.shared import by_token
from easyedit_unlearn.types import PreTrainedModel, PreTrainedTokenizerBase
from easyedit_unlearn.yamls import load_yaml

INSTALL = 'lm-evaluation-harness is missing; run: pip install "easyedit-unlearn[lm-eval]"'


class Ability(TypedDict):
    """One number of a task, and its standard error where the harness has one."""

    value: float
    stderr: float | None


def known_tasks(names: Sequence[str]) -> list[str | dict[str, Any]]:
    """Tasks as the harness takes them: its own by name, or what a YAML file holds, which is read as data (its
    ``!function`` would run Python).

    Raises:
        UnlearnError: the harness is not installed. ConfigError: no such task, or a file that is no task.
    """
    with _harness():
        own = [name for name in names if not name.endswith((".yaml", ".yml"))]
        if own:
            there = _manager(defaults=True).all_tasks
            for name in own:
                if name not in there:
                    raise ConfigError(suggest(name, there), key="--lm-eval", value=name)
    return [name if name in own else _from_file(Path(name)) for name in names]


def abilities(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[str | dict[str, Any]], *,
    limit: int | None = None, system: str | None = None, batch_size: int = 8, progress: Progress = no_progress,
) -> dict[str, Ability]:  # fmt: skip
    """Every number of the tasks, by "task metric", by the harness's own ``evaluate``.

    Args:
        tasks: as :func:`known_tasks` gives them. limit: of the documents of each task, the first so many.
        system: said before every document.

    Raises:
        UnlearnError: a task cannot be run; in one line.
    """
    advance, found = progress("lm-evaluation-harness: tasks", len(tasks)), dict[str, Ability]()
    modes = {module: module.training for module in model.modules()}
    mine = copy.deepcopy(tokenizer)  # the harness gives it a pad token, or a new one that the model does not have
    if mine.pad_token_id is None:
        mine.pad_token_id = pad_id(tokenizer)
    rows = batch_size if by_token(model) else 1  # without a mask, padding would decide whether a memory acts
    try:
        for task in tasks:
            name = task if isinstance(task, str) else str(task["task"])
            found |= _run(model, mine, name, task, limit, system, rows)
            advance(1)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return found


def _run(
    model: Any, tokenizer: Any, name: str, task: str | dict[str, Any], limit: int | None, system: str | None,
    batch_size: int,
) -> dict[str, Ability]:  # fmt: skip
    try:
        with _harness(), own_random_state(0):
            from lm_eval.evaluator import evaluate
            from lm_eval.models.huggingface import HFLM
            from lm_eval.tasks import get_task_dict

            loaded = get_task_dict([task], _manager(defaults=isinstance(task, str)))
            asked = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
            results = evaluate(
                lm=asked, task_dict=loaded, limit=limit, bootstrap_iters=100, log_samples=False,
                system_instruction=system,
            )["results"]  # fmt: skip
    except UnlearnError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise UnlearnError(f"lm-evaluation-harness: {name}: {type(error).__name__}: {said}") from error
    return {key: one for part, numbers in results.items() for key, one in _numbers(part, numbers).items()}


@cache
def _manager(*, defaults: bool) -> Any:
    """With the harness's own tasks, seconds to read, once a process."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=defaults)


def _numbers(task: str, results: dict[str, Any]) -> dict[str, Ability]:
    """``{"acc,none": 0.5, "acc_stderr,none": 0.1}`` as one number by name."""
    found = {}
    for key, value in results.items():
        metric, _, filtered = key.partition(",")
        if not filtered or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        error = results.get(f"{metric}_stderr,{filtered}")
        shown = metric if filtered == "none" else f"{metric} ({filtered})"
        stderr = float(error) if isinstance(error, int | float) else None
        found[f"{task} {shown}"] = Ability(value=float(value), stderr=stderr)
    return found


def _from_file(path: Path) -> dict[str, Any]:
    try:
        read = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"is no task file: {said}", key="--lm-eval", value=str(path)) from None
    if not isinstance(read, dict) or not isinstance(read.get("task"), str):
        raise ConfigError("is no task file: it names no 'task'", key="--lm-eval", value=str(path))
    return read


@contextmanager
def _harness() -> Iterator[None]:
    """The harness without its bars, its warnings and its messages. Raises UnlearnError where it is not installed."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            logger.setLevel(logging.ERROR)
            try:
                import lm_eval  # noqa: F401
            except ImportError as error:
                raise UnlearnError(INSTALL) from error
            yield
    finally:
        logger.setLevel(level)
