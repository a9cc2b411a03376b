"""Teach an imported EasyEdit about unlearning hparams and our methods. Plain hparams run as they always did."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy as shallow_copy
from typing import Any

import torch
import wrapt

from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.errors import HostError
from easyedit_unlearn.host.contract import contract, register
from easyedit_unlearn.host.find import require_host
from easyedit_unlearn.host.loading import load_for_host, model_label, tokenizer_for_host
from easyedit_unlearn.host.retain import retain_pairs, wants_retain
from easyedit_unlearn.host.serving import comparable
from easyedit_unlearn.host.session import (
    Session,
    active,
    check_acts,
    host_module,
    keep_globals,
    on_right_device,
    session,
    take_up_globals,
)
from easyedit_unlearn.host.supply import adapt_statistics, forget_last_edit, supply, untie
from easyedit_unlearn.model.device import device_of

_MARK = "_easyedit_unlearn_adapted"
_CALLS = ("edit", "batch_edit", "edit_requests", "normal_edit", "generate_edit", "edit_dataset")


def adapt() -> None:
    """Wrap ``BaseEditor`` and register our methods; does nothing the second time."""
    editor_module = host_module("editors.editor")
    base = editor_module.BaseEditor
    if base.__dict__.get(_MARK):
        return
    setattr(base, _MARK, True)
    wrapt.wrap_function_wrapper(base, "__init__", _construct)
    for name in _CALLS:
        if name in base.__dict__:
            wrapt.wrap_function_wrapper(base, name, _call)
    for name in ("get_handler", "summary_metrics"):  # the two that write ./logs in the working directory
        if hasattr(editor_module, name):
            wrapt.wrap_function_wrapper(editor_module, name, _QUIET[name])
    if hasattr(editor_module, "restore_after_edit"):
        wrapt.wrap_function_wrapper(editor_module, "restore_after_edit", _restore)
    adapt_statistics()
    scoring = host_module("evaluate.evaluate")
    for name in ("F1", "test_prediction_acc"):
        if hasattr(scoring, name):
            wrapt.wrap_function_wrapper(scoring, name, comparable)
    register(host_module("util.alg_dict").ALG_DICT, host_module("editors.batch_editor").BatchEditor)


def _construct(wrapped: Any, editor: Any, args: Any, kwargs: Any) -> None:
    hparams = args[0] if args else kwargs["hparams"]
    if not isinstance(hparams, UnlearnHyperParams):
        with on_right_device(getattr(hparams, "device", None)):
            wrapped(*args, **kwargs)
        return
    hparams = shallow_copy(hparams)  # EasyEdit writes into it
    editor.unlearning_state = {}
    name = model_label(hparams.model_name)
    model, tokenizer = load_for_host(hparams)
    tokenizer = tokenizer_for_host(tokenizer, hparams.method)
    hparams.device = device_of(model).index or 0 if device_of(model).type == "cuda" else "cpu"
    hparams.model_name = (model, tokenizer)
    hparams.method.complete(hparams)
    untie(hparams, model)
    with session(model, hparams.unlearn.seed), on_right_device(hparams.device):
        wrapped(hparams)
    editor.model_name = hparams.model_name = name
    if hparams.method.engine == "native":  # also where EasyEdit has a different algorithm of that name
        editor.apply_algo = contract(lambda: hparams.method)


def _call(wrapped: Any, editor: Any, args: Any, kwargs: Any) -> Any:
    hparams = editor.hparams
    if not isinstance(hparams, UnlearnHyperParams):
        with on_right_device(getattr(hparams, "device", None)):
            return wrapped(*args, **kwargs)

    retain, shared, answers = kwargs.pop("retain", None), kwargs.pop("shared", {}), kwargs.pop("answers", {})
    if shared and not hparams.method.shares_values:
        raise HostError(f"{hparams.alg_name} ({hparams.engine} engine) cannot share a value among prompts")
    if require_host().kind == "release" and "sequential_edit" in kwargs:  # it has the switch under another name
        kwargs["keep_original_weight"] = not kwargs.pop("sequential_edit")
    if wrapped.__name__ == "batch_edit" and not hparams.method.batchable:
        raise HostError(f"{hparams.alg_name} ({hparams.engine} engine) takes one request at a time: call edit()")
    with (
        session(editor.model, hparams.unlearn.seed) as now,
        on_right_device(hparams.device),
        _undone_or_kept(now, editor, _persists(kwargs)),
    ):
        check_acts(editor.model, hparams)
        now.guard.keep(hparams.method.parameters(editor.model, hparams))
        prompts = kwargs["prompts"] if "prompts" in kwargs else args[0] if args else []
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        now.shared, now.answers = shared or now.shared, answers or now.answers  # edit() calls edit_requests()
        prompts += [query["prompt"] for queries in shared.values() for query in queries]
        first = retain is None and now.retain is None and wrapped.__name__ in ("edit", "batch_edit")
        if first and wants_retain(hparams):
            # once for the whole call, on the model before it: EasyEdit calls the method once a request
            retain = retain_pairs(editor.model, editor.tok, hparams, prompts)
        now.retain = retain if retain is not None else now.retain
        if wrapped.__name__ in ("edit", "batch_edit"):
            supply(editor, now, kwargs, prompts)
        result = wrapped(*args, **kwargs)
        now.guard.check_finite()
        return result


def _persists(kwargs: dict[str, Any]) -> bool:
    """True if EasyEdit leaves the edits of a call in the model: each form has a switch of its own."""
    if require_host().kind == "release":
        return not kwargs.get("keep_original_weight", False)
    return bool(kwargs.get("sequential_edit", False))


@contextmanager
def _undone_or_kept(now: Session, editor: Any, persist: bool) -> Iterator[None]:
    """What EasyEdit's own restoring knows nothing of: memories beside the weights, the state of a sequence, and what an
    editor notes on its hparams."""
    if now.persist is not None:  # edit() calls edit_requests()
        yield
        return
    hparams, noted = editor.hparams, dict(vars(editor.hparams))
    now.persist, now.hparams, now.before = persist, hparams, dict(editor.unlearning_state)
    now.state = dict(now.before)
    take_up_globals(now.state)
    kept = False
    try:
        yield
        kept = persist
    finally:
        now.persist = now.hparams = None
        if not kept:
            vars(hparams).clear()
            vars(hparams).update(noted)
    if kept:
        keep_globals(now.state)
        editor.unlearning_state = now.state
    else:
        now.guard.restore()


def _restore(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """The main branch chooses how to restore by alg_name; native methods always return originals by name."""
    editor, edited, originals = args
    hparams, now = editor.hparams, active()
    if not isinstance(hparams, UnlearnHyperParams):
        return wrapped(*args, **kwargs)
    if hparams.method.engine == "host":
        forget_last_edit(hparams, now.before if now is not None else {})
        result = wrapped(*args, **kwargs)
        if now is not None:
            now.guard.restore()  # EMMET and UltraEdit hand EasyEdit nothing to put back
        return result
    parameters = dict(editor.model.named_parameters())
    with torch.no_grad():
        for name, original in originals.items():
            parameters[name].copy_(original)
    if now is not None:
        now.guard.restore_hooks()
    return edited


def _no_handlers(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs) if active() is None else (logging.NullHandler(), logging.NullHandler())


def _no_summary(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs) if active() is None else None


_QUIET = {"get_handler": _no_handlers, "summary_metrics": _no_summary}
