"""The pluggy hooks. A plugin is a module or object with any of these functions, marked with ``hookimpl``.

A complete plugin::

    from easyedit_unlearn import ForgetSample, Task, hookimpl

    class Rivers(Task):
        name, summary = "rivers", "Questions about rivers."

        def samples(self, options):
            return [ForgetSample(id="1", question="Which river flows through Cairo?", answer="Nile", subject="Cairo")]

    @hookimpl
    def easyedit_unlearn_tasks():
        return [Rivers()]

and in its ``pyproject.toml``::

    [project.entry-points.easyedit_unlearn]
    rivers = "my_module"

Then ``easyedit-unlearn run ROME/smollm2-135m --forget rivers --out DIR`` finds it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from easyedit_unlearn.components import Lazy, Method, Metric, QueryMerger, SetMetric, TargetBuilder, Task

NAME = "easyedit_unlearn"
hookimpl = pluggy.HookimplMarker(NAME)
_spec = pluggy.HookspecMarker(NAME)


@_spec
def easyedit_unlearn_tasks() -> Sequence[Task | Lazy]:  # type: ignore[empty-body]
    """Tasks: ``return [Rivers()]``; used as ``--forget rivers``."""


@_spec
def easyedit_unlearn_target_builders() -> Sequence[TargetBuilder | Lazy]:  # type: ignore[empty-body]
    """Target builders: ``return [Shrug()]``; used as ``unlearn: {target: {builder: shrug}}``."""


@_spec
def easyedit_unlearn_query_mergers() -> Sequence[QueryMerger | Lazy]:  # type: ignore[empty-body]
    """Query mergers: ``return [Pairs()]``; used as ``unlearn: {merge: {merger: pairs}}``."""


@_spec
def easyedit_unlearn_methods() -> Sequence[Method | Lazy]:  # type: ignore[empty-body]
    """Methods: ``return [MyMethod()]``; used as ``alg_name: MyMethod``, also by EasyEdit's own ``BaseEditor``."""


@_spec
def easyedit_unlearn_metrics() -> Sequence[Metric | SetMetric | Lazy]:  # type: ignore[empty-body]
    """Metrics: ``return [Words()]``; every result row then has ``forget_words``, ``retain_words`` and so on. What is
    computed from the scores of all samples is a ``SetMetric``."""
