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
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.components import Stage, no_progress
from easyedit_unlearn.host.locate import PACKAGE, require_host
from easyedit_unlearn.randomness import own_random_state
from easyedit_unlearn.weights import WeightGuard, guarded

if TYPE_CHECKING:
    from torch import nn

# What EasyEdit keeps in module globals between calls: (module, name) -> the value it starts from. A call starts
# from these and leaves behind what it found, so that two editors in one process know nothing of each other.
_GLOBALS: dict[tuple[str, str], Any] = {
    ("models.rome.rome_main", "CONTEXT_TEMPLATES_CACHE"): None,
    ("models.rome.compute_u", "inv_mom2_cache"): {},
    ("models.r_rome.r_rome_main", "CONTEXT_TEMPLATES_CACHE"): None,
    ("models.r_rome.compute_u", "inv_mom2_cache"): {},
    ("models.memit.memit_main", "CONTEXT_TEMPLATES_CACHE"): None,
    ("models.memit.memit_main", "COV_CACHE"): {},
    ("models.alphaedit.AlphaEdit_main", "CONTEXT_TEMPLATES_CACHE"): None,
    ("models.alphaedit.AlphaEdit_main", "COV_CACHE"): {},
    ("models.alphaedit.AlphaEdit_main", "P_loaded"): False,
    ("models.alphaedit.AlphaEdit_main", "cache_c_new"): False,
    ("models.alphaedit.AlphaEdit_main", "P"): None,
    ("models.alphaedit.AlphaEdit_main", "cache_c"): None,
    ("models.wise.utils", "CONTEXT_TEMPLATES_CACHE"): None,
    ("models.wise.wise_main", "WISEload"): True,
    ("models.wise.WISE", "edit_history"): [],
    ("models.wise.WISE", "merge_group_edit_history"): [],
}
_SEQUENCE = "EasyEdit's globals"


@dataclass
class Session:
    """Retain data and progress for the methods, and the guard that holds the originals.

    ``shared``: by prompt, the further prompts and subjects that get its value. ``answers``: by prompt, what counts as
    its answer within a longer reply.

    ``persist``: whether the edits of the ``BaseEditor`` call under way stay after it, None outside one.
    ``history``: what its editor remembered before it.
    """

    guard: WeightGuard
    retain: Sequence[tuple[str, str]] | None = None
    stage: Stage = field(default=no_progress)
    persist: bool | None = None
    hparams: Any = None
    history: dict[str, Any] = field(default_factory=dict)
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
    """
    outer = _active.get()
    if outer is not None and outer.guard.model is model:
        yield outer
        return
    with own_random_state(seed), _fresh_globals(), guarded(model) as guard:
        mine = Session(guard)
        token = _active.set(mine)
        try:
            yield mine
        finally:
            _active.reset(token)


@contextmanager
def on_right_device(device: Any) -> Iterator[None]:
    """Where the release would name a CUDA device that is not there, or not meant, it uses the CPU."""
    import torch

    if require_host().kind == "main" or (torch.cuda.is_available() and str(device) != "cpu"):
        yield
        return
    from easyedit_unlearn.host.cpu import CudaToCpu

    with CudaToCpu():
        yield


@contextmanager
def _fresh_globals() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for (module_name, name), start in _GLOBALS.items():
            module = sys.modules.get(f"{PACKAGE}.{module_name}")
            if module is not None:
                stack.callback(setattr, module, name, getattr(module, name, start))
                setattr(module, name, copy(start))
        yield


def keep_globals(history: dict[str, Any]) -> None:
    """Note in an editor's history what EasyEdit remembers of a sequence."""
    found = {key: sys.modules.get(f"{PACKAGE}.{key[0]}") for key in _GLOBALS}
    history[_SEQUENCE] = {key: getattr(module, key[1]) for key, module in found.items() if module is not None}


def take_up_globals(history: dict[str, Any]) -> None:
    """Go on with the sequence that :func:`keep_globals` noted."""
    for (module_name, name), value in history.get(_SEQUENCE, {}).items():
        # a copy: EasyEdit adds to its tensors and lists in place, and what it does may yet be undone
        setattr(
            sys.modules[f"{PACKAGE}.{module_name}"], name, value.clone() if hasattr(value, "clone") else copy(value)
        )


def host_module(name: str) -> Any:
    """``easyeditor.{name}``; attribute access would not do, since star imports hide EasyEdit's own packages."""
    require_host()
    return importlib.import_module(f"{PACKAGE}.{name}" if name else PACKAGE)
