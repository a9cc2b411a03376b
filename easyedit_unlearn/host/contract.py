"""Our methods as EasyEdit calls its algorithms, in the table that it finds them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch

from easyedit_unlearn.components import Job, Method
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.errors import HostError, in_one_line
from easyedit_unlearn.host.cpu import our_own_code
from easyedit_unlearn.host.find import require_host
from easyedit_unlearn.host.retain import retain_pairs
from easyedit_unlearn.host.session import Session, active, session
from easyedit_unlearn.plugins.load import default_plugins

_own: dict[str, Any] = {}


def own_editors() -> Mapping[str, Any]:
    """What EasyEdit's ``ALG_DICT`` held before we added to it: by name, its function."""
    return _own


def contract(find: Callable[[], Method]) -> Callable[..., Any]:
    """A method as EasyEdit calls its algorithms: returns (model, originals by parameter name).

    Restores where the host restores: the release keeps the edit unless ``keep_original_weight`` is set, the main
    branch decides in ``BaseEditor`` and always wants the originals.
    """

    def apply(
        model: Any, tok: Any, requests: Any, hparams: Any, copy: bool = False, return_orig_weights: bool = False,
        keep_original_weight: bool = False, **kwargs: Any,
    ) -> tuple[Any, dict[str, Any]]:  # fmt: skip
        method = find()
        if not isinstance(hparams, UnlearnHyperParams):
            raise HostError(f"{method.name} needs hparams from UnlearnHyperParams.from_hparams")
        requests = [requests] if isinstance(requests, dict) else requests
        model = deepcopy(model) if copy else model
        with session(model, hparams.unlearn.seed) as now, our_own_code():
            requests = [_complete(request, now) for request in requests]
            if now.persist is False:
                # the edit before this one in the same call is undone, where EasyEdit only puts weights back
                now.guard.restore_hooks()
                now.state = dict(now.before)
            originals = now.guard.keep(method.parameters(model, hparams))
            prompts = [query["prompt"] for request in requests for query in (request, *request["also"])]
            retain = retain_pairs(model, tok, hparams, prompts) if now.retain is None else now.retain
            if method.needs_retain and not retain:
                raise HostError(
                    f"{method.name} needs retain data: pass retain= to unlearning_requests, or name it in the hparams "
                    "(unlearn: {retain: {task: facts, split: retain}})"
                )
            # whoever calls may compute no gradients; a method may need them
            with (
                torch.inference_mode(False),
                torch.enable_grad(),
                in_one_line(f"{method.name} does not run on {type(model).__name__}"),
            ):
                method.apply(Job(model, tok, requests, hparams, retain, now.progress, now.state))
            now.guard.check_finite()
        persists = require_host().kind == "release" and not keep_original_weight
        return model, originals if return_orig_weights and not persists else {}

    return apply


def _complete(request: Mapping[str, Any], now: Session) -> dict[str, Any]:
    """A request of EasyEdit's, with what it has no key for."""
    prompt = request["prompt"]
    answers = now.answers.get(prompt, [request.get("ground_truth")])
    return {**request, "also": now.shared.get(prompt, []), "answers": [answer for answer in answers if answer]}


def register(algorithms: dict[str, Any], batch_editor: Any) -> None:
    """Add our methods to EasyEdit's ``ALG_DICT``, but for names that it has itself."""
    methods = default_plugins().methods
    _own.update(algorithms)
    for name in methods.names:
        algorithms.setdefault(name, contract(partial(methods.get, name)))
    host_rule = batch_editor.is_batchable_method

    def is_batchable(name: str) -> bool:
        now = active()  # for plain hparams EasyEdit's rule stands
        if now is not None and now.hparams is not None and now.hparams.method.engine == "native":
            return bool(now.hparams.method.batchable)
        return host_rule(name) or (name not in _own and name in methods and methods.get(name).batchable)

    batch_editor.is_batchable_method = staticmethod(is_batchable)
