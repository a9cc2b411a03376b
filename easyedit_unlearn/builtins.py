"""The built-in components, registered through the same hooks as everybody else's."""

from __future__ import annotations

from collections.abc import Sequence

from easyedit_unlearn.baselines.graddiff import GradDiff
from easyedit_unlearn.components import Method, Metric, QueryMerger, TargetBuilder, Task
from easyedit_unlearn.editors.table import editors
from easyedit_unlearn.evaluation.metrics import AnswerProbability, AnswerRate, RefusalRate, RougeL
from easyedit_unlearn.hookspecs import hookimpl
from easyedit_unlearn.merging.none import NoMerging
from easyedit_unlearn.targets.fixed import Fixed
from easyedit_unlearn.targets.list import DrawnFromList
from easyedit_unlearn.tasks.facts import Facts
from easyedit_unlearn.tasks.factual import Factual
from easyedit_unlearn.tasks.jsonl import Jsonl


@hookimpl
def easyedit_unlearn_tasks() -> Sequence[Task]:
    return [Facts(), Factual(), Jsonl()]


@hookimpl
def easyedit_unlearn_target_builders() -> Sequence[TargetBuilder]:
    return [Fixed(), DrawnFromList()]


@hookimpl
def easyedit_unlearn_query_mergers() -> Sequence[QueryMerger]:
    return [NoMerging()]


@hookimpl
def easyedit_unlearn_methods() -> Sequence[Method]:
    return [*editors(), GradDiff()]


@hookimpl
def easyedit_unlearn_metrics() -> Sequence[Metric]:
    return [AnswerRate(), RougeL(), AnswerProbability(), RefusalRate()]
