"""The state of one unlearning call into EasyEdit: what to put back, what to keep from the user, what to hand on."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.environment import ONE_AT_A_TIME, own_random_state
from easyedit_unlearn.host.cpu import CudaToCpu
from easyedit_unlearn.host.find import PACKAGE, require_host
from easyedit_unlearn.model.weights import WeightGuard, check_writable, guarded

_GLOBALS: Mapping[str, Any] = {
    "CONTEXT_TEMPLATES_CACHE": None, "inv_mom2_cache": {}, "COV_CACHE": {}, "P_loaded": False, "cache_c_new": False,
    "P": None, "cache_c": None, "WISEload": True, "edit_history": [], "merge_group_edit_history": [],
}  # fmt: skip
"""What EasyEdit's editors keep in module globals between calls, and the values they start from. A call starts from
these and leaves behind what it found, so that two editors in one process know nothing of each other."""
_SEQUENCE = "EasyEdit's globals"


@dataclass
class Session:
    """Retain data and progress for the methods, and the guard that holds the originals.

    ``shared``: by prompt, the further prompts and subjects that get its value. ``answers``: by prompt, what counts as
    its answer within a longer reply.

    ``persist``: True if the edits of the ``BaseEditor`` call under way stay after it, None outside one. ``state``: what
    its sequence of edits must remember; ``before``: the same when the call began.
    """

    guard: WeightGuard
    retain: Sequence[tuple[str, str]] | None = None
    progress: Progress = field(default=no_progress)
    persist: bool | None = None
    hparams: Any = None
    state: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    shared: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    moments: dict[str, Any] = field(default_factory=dict)


_active: ContextVar[Session | None] = ContextVar("easyedit_unlearn_session", default=None)


def active() -> Session | None:
    return _active.get()


@contextmanager
def session(model: nn.Module, seed: int) -> Iterator[Session]:
    """Run one unlearning call. Nested calls on the same model (``edit`` calls ``edit_requests``) share the outer one.

    On any exception every kept weight is put back; the random state and EasyEdit's module globals are put back always.
    They are the process's, so another thread's call waits.
    """
    outer = _active.get()
    if outer is not None and outer.guard.model is model:
        yield outer
        return
    with ONE_AT_A_TIME, own_random_state(seed), _fresh_globals(), guarded(model) as guard:
        mine = Session(guard)
        token = _active.set(mine)
        try:
            yield mine
        finally:
            _active.reset(token)


def check_acts(model: nn.Module, hparams: Any) -> None:
    """Raise UnlearnError where the method cannot act on this model: before work is done rather than after."""
    hparams.method.check(model, hparams)
    check_writable(model, hparams.method.parameters(model, hparams))


@contextmanager
def on_right_device(device: Any) -> Iterator[None]:
    """Where the release would name a CUDA device that is not there, or not meant, it uses the CPU."""
    if require_host().kind == "main" or (torch.cuda.is_available() and str(device) != "cpu"):
        yield
        return
    with CudaToCpu():
        yield


@contextmanager
def _fresh_globals() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for (module_name, name), value in _globals().items():
            module = sys.modules[module_name]
            stack.callback(setattr, module, name, value)
            setattr(module, name, copy(_GLOBALS[name]))
        yield


def keep_globals(state: dict[str, Any]) -> None:
    """Note in an editor's state what EasyEdit remembers of a sequence."""
    state[_SEQUENCE] = _globals()


def take_up_globals(state: Mapping[str, Any]) -> None:
    """Go on with the sequence that :func:`keep_globals` noted."""
    for (module_name, name), value in state.get(_SEQUENCE, {}).items():
        # a copy: EasyEdit adds to its tensors and lists in place, and what it does may yet be undone
        setattr(sys.modules[module_name], name, value.clone() if hasattr(value, "clone") else copy(value))


def _globals() -> dict[tuple[str, str], Any]:
    """By module and name, what the editors that are imported hold now."""
    editors = {name: m for name, m in list(sys.modules.items()) if name.startswith(f"{PACKAGE}.models.") and m}
    return {(place, name): vars(m)[name] for place, m in editors.items() for name in _GLOBALS if name in vars(m)}


def host_module(name: str) -> Any:
    """``easyeditor.{name}``; attribute access would not do, since star imports hide EasyEdit's own packages."""
    require_host()
    return importlib.import_module(f"{PACKAGE}.{name}" if name else PACKAGE)
