"""The built-in components, registered through the same hooks as everybody else's."""

from __future__ import annotations

from collections.abc import Sequence

from easyedit_unlearn.baselines.ascent import GA, KL, GradDiff
from easyedit_unlearn.baselines.icr import ICR
from easyedit_unlearn.baselines.lunar import LUNAR
from easyedit_unlearn.baselines.npo import NPO, SimNPO
from easyedit_unlearn.baselines.pdu import PDU
from easyedit_unlearn.baselines.refusals import DPO, IDKAP, PO
from easyedit_unlearn.baselines.rmu import RMU
from easyedit_unlearn.baselines.task_vector import TaskVector
from easyedit_unlearn.baselines.tokens import CEU, UNDIAL, WGA, SatImp
from easyedit_unlearn.components import Method, Metric, QueryMerger, SetMetric, TargetBuilder, Task
from easyedit_unlearn.editors.table import editors
from easyedit_unlearn.evaluation.metrics import AnswerProbability, AnswerRate, RefusalRate, formula_metrics
from easyedit_unlearn.evaluation.overall import set_metrics
from easyedit_unlearn.hookspecs import hookimpl
from easyedit_unlearn.merging.mergers import BySubject, Concat, NoMerging, SharedValue
from easyedit_unlearn.targets.fixed import Alternative, Fixed
from easyedit_unlearn.targets.list import IDK, DrawnFromList
from easyedit_unlearn.targets.self_improve import SelfImprove
from easyedit_unlearn.targets.template import Empty, Template
from easyedit_unlearn.tasks.facts import Facts
from easyedit_unlearn.tasks.factual import Factual
from easyedit_unlearn.tasks.jsonl import Jsonl
from easyedit_unlearn.tasks.knowundo import KnowUnDo
from easyedit_unlearn.tasks.pistol import Pistol
from easyedit_unlearn.tasks.tofu import Tofu
from easyedit_unlearn.tasks.zsre import ZsRE


@hookimpl
def easyedit_unlearn_tasks() -> Sequence[Task]:
    return [Facts(), Factual(), Tofu(), Pistol(), KnowUnDo(), ZsRE(), Jsonl()]


@hookimpl
def easyedit_unlearn_target_builders() -> Sequence[TargetBuilder]:
    return [Fixed(), Template(), SelfImprove(), IDK(), DrawnFromList(), Empty(), Alternative()]


@hookimpl
def easyedit_unlearn_query_mergers() -> Sequence[QueryMerger]:
    return [NoMerging(), Concat(), BySubject(), SharedValue()]


@hookimpl
def easyedit_unlearn_methods() -> Sequence[Method]:
    baselines = (
        GA,
        GradDiff,
        KL,
        PO,
        IDKAP,
        DPO,
        NPO,
        SimNPO,
        WGA,
        SatImp,
        CEU,
        UNDIAL,
        PDU,
        RMU,
        LUNAR,
        TaskVector,
        ICR,
    )
    return [*editors(), *(method() for method in baselines)]


@hookimpl
def easyedit_unlearn_metrics() -> Sequence[Metric | SetMetric]:
    return [AnswerRate(), AnswerProbability(), RefusalRate(), *formula_metrics(), *set_metrics()]
