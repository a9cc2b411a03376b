"""easyedit-unlearn: EasyEdit's knowledge editors as LLM unlearners, beside the unlearning baselines.

Importing this package is cheap: it imports neither torch nor EasyEdit. It arms a hook, so that the moment EasyEdit is
imported (or at once, if it already was) ``BaseEditor`` understands unlearning hparams and runs every registered method.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.host import importing as _importing

if TYPE_CHECKING:
    from easyedit_unlearn.api import unlearning_requests
    from easyedit_unlearn.checkpoints import Asked, evaluate
    from easyedit_unlearn.components import Method, Metric, Options, QueryMerger, SetMetric, TargetBuilder, Task
    from easyedit_unlearn.editors.adapters import detach, load_adapters, require_mergeable, save_adapters
    from easyedit_unlearn.hookspecs import hookimpl
    from easyedit_unlearn.hparams import UnlearnHyperParams
    from easyedit_unlearn.models import embedded_model
    from easyedit_unlearn.result import UnlearnResult
    from easyedit_unlearn.types import EditRequest, ForgetSample, Observation, Target
    from easyedit_unlearn.unlearning import unlearn

__version__ = "0.1.0"

_HOMES = {
    "api": ["unlearning_requests"],
    "checkpoints": ["Asked", "evaluate"],
    "components": ["Method", "Metric", "Options", "QueryMerger", "SetMetric", "TargetBuilder", "Task"],
    "editors.adapters": ["detach", "load_adapters", "require_mergeable", "save_adapters"],
    "hookspecs": ["hookimpl"],
    "hparams": ["UnlearnHyperParams"],
    "models": ["embedded_model"],
    "result": ["UnlearnResult"],
    "types": ["EditRequest", "ForgetSample", "Observation", "Target"],
    "unlearning": ["unlearn"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Asked",
    "EditRequest",
    "ForgetSample",
    "Method",
    "Metric",
    "Observation",
    "Options",
    "QueryMerger",
    "SetMetric",
    "Target",
    "TargetBuilder",
    "Task",
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
        return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


_importing.install()
