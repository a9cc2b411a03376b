"""easyedit-unlearn: EasyEdit's knowledge editors as LLM unlearners, beside the unlearning baselines.

Importing this package is cheap: it imports neither torch nor EasyEdit. It arms a hook, so that the moment EasyEdit is
imported (or at once, if it already was) ``BaseEditor`` understands unlearning hparams and runs every registered method.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.host import importing as _importing

if TYPE_CHECKING:
    from easyedit_unlearn.components import (
        BuildContext,
        Job,
        Lazy,
        Method,
        Metric,
        Options,
        QueryMerger,
        SetMetric,
        TargetBuilder,
        Task,
    )
    from easyedit_unlearn.config.hparams import UnlearnHyperParams
    from easyedit_unlearn.experiment.config import EvalConfig
    from easyedit_unlearn.experiment.evaluate import evaluate
    from easyedit_unlearn.experiment.requests import unlearning_requests
    from easyedit_unlearn.experiment.result import UnlearnResult
    from easyedit_unlearn.experiment.topics import Topic
    from easyedit_unlearn.experiment.unlearn import unlearn
    from easyedit_unlearn.model.load import embedded_model
    from easyedit_unlearn.model.memories import detach
    from easyedit_unlearn.model.memory_files import load_adapters, require_mergeable, save_adapters
    from easyedit_unlearn.plugins.hookspecs import hookimpl
    from easyedit_unlearn.types import Column, EditRequest, ForgetSample, Observation, Target

__version__ = "0.1.0"

_HOMES = {
    "components": "BuildContext Job Lazy Method Metric Options QueryMerger SetMetric TargetBuilder Task",
    "config.hparams": "UnlearnHyperParams",
    "experiment.config": "EvalConfig",
    "experiment.evaluate": "evaluate",
    "experiment.requests": "unlearning_requests",
    "experiment.result": "UnlearnResult",
    "experiment.topics": "Topic",
    "experiment.unlearn": "unlearn",
    "model.load": "embedded_model",
    "model.memories": "detach",
    "model.memory_files": "load_adapters require_mergeable save_adapters",
    "plugins.hookspecs": "hookimpl",
    "types": "Column EditRequest ForgetSample Observation Target",
}
_HOME_OF = {name: (home, name) for home, names in _HOMES.items() for name in names.split()}
_HOME_OF["Asked"] = ("experiment.config", "EvalConfig")  # its first name

__all__ = [
    "BuildContext",
    "Column",
    "EditRequest",
    "EvalConfig",
    "ForgetSample",
    "Job",
    "Lazy",
    "Method",
    "Metric",
    "Observation",
    "Options",
    "QueryMerger",
    "SetMetric",
    "Target",
    "TargetBuilder",
    "Task",
    "Topic",
    "UnlearnHyperParams",
    "UnlearnResult",
    "__version__",
    "detach",
    "embedded_model",
    "evaluate",
    "hookimpl",
    "load_adapters",
    "require_mergeable",
    "save_adapters",
    "unlearn",
    "unlearning_requests",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        home, inside = _HOME_OF[name]
        return getattr(import_module(f"{__name__}.{home}"), inside)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


_importing.install()
