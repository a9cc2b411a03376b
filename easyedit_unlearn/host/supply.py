"""What EasyEdit's editors need and would fetch from elsewhere, or leave behind: statistics, projections, neighbours.

EasyEdit streams Wikipedia from the Hub for the key covariances, layer by layer, and saves AlphaEdit's projection into
the working directory. Here both come from the local corpus that the hparams or the data directory name; where neither
names one, EasyEdit does as it always did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import wrapt

from easyedit_unlearn.editors.adapters import attached
from easyedit_unlearn.editors.paths import edited_layer
from easyedit_unlearn.errors import HostError
from easyedit_unlearn.host.session import Session, active, host_module, take_up_globals
from easyedit_unlearn.hparams import UnlearnHyperParams

_STATISTICS_USERS = (
    "models.rome.compute_u", "models.r_rome.compute_u", "models.memit.memit_main", "models.alphaedit.AlphaEdit_main",
)  # fmt: skip
_NEIGHBOURS = (
    "The weather was mild that day.", "She closed the book and went outside.", "Bread is made of flour and water.",
)  # fmt: skip
"""What WISE must leave alone when there is no retain set at all."""


def adapt_statistics() -> None:
    """Have EasyEdit's editors ask us for key covariances."""
    for name in _STATISTICS_USERS:
        try:
            module = host_module(name)
        except ImportError:  # the release has not all of them
            continue
        if hasattr(module, "layer_stats"):
            wrapt.wrap_function_wrapper(module, "layer_stats", _layer_stats)


class _Statistics:
    """As much of EasyEdit's CombinedStat as its editors read: ``stat.mom2.moment()``."""

    def __init__(self, moment: Any) -> None:
        self._moment = moment
        self.mom2 = self

    def moment(self) -> Any:
        return self._moment


def _layer_stats(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    now = active()
    if now is None or now.hparams is None or not _has_corpus(now.hparams):
        return wrapped(*args, **kwargs)
    model, tokenizer, layer = args[:3]
    return _Statistics(_moments(model, tokenizer, now, [layer])[layer].cpu())


def supply(editor: Any, now: Session, kwargs: dict[str, Any], prompts: Sequence[str]) -> None:
    """Whatever the editor's algorithm needs for this call, put where EasyEdit looks for it."""
    hparams = editor.hparams
    if hparams.engine != "host":
        return
    if hparams.alg_name in ("GRACE", "WISE") and edited_layer(hparams.inner_params) in attached(editor.model):
        raise HostError(
            "a memory of ours acts beside this layer, which EasyEdit's engine cannot continue: detach(model) first, or "
            "go on with unlearn.engine: native"
        )
    if hparams.alg_name == "WISE":
        hparams.sequential_edit = bool(kwargs.get("sequential_edit"))  # else its adapter keeps the last edit only
        around = hparams.around = [prompt for prompt, _ in now.retain or ()] or list(_NEIGHBOURS)
        kwargs.setdefault("loc_prompts", [around[i % len(around)] for i in range(len(prompts))])
    if hparams.alg_name == "AlphaEdit" and _has_corpus(hparams) and not hparams.history:
        _supply_projection(editor, now)


def untie(hparams: Any, model: Any) -> None:
    """EasyEdit's MEMIT and AlphaEdit look the output weight up by name; tied to the input's, it has only that one's."""
    named = getattr(hparams, "lm_head_module", None)
    embedding = model.get_input_embeddings()
    if hparams.engine == "host" and named and getattr(model.config, "tie_word_embeddings", False):
        names = {name for name, _ in model.named_parameters()}
        if f"{named}.weight" not in names:
            hparams.lm_head_module = next(name for name, module in model.named_modules() if module is embedding)


def _supply_projection(editor: Any, now: Session) -> None:
    """AlphaEdit's P and its memory of earlier keys are module globals; ``P_loc`` only says that P exists."""
    import torch

    from easyedit_unlearn.editors.statistics import cached_null_space

    hparams = editor.hparams
    module = host_module("models.alphaedit.AlphaEdit_main")
    names = [hparams.rewrite_module_tmp.format(layer) for layer in hparams.layers]
    moments = _moments(editor.model, editor.tok, now, names)
    projections = [cached_null_space(moments[name], threshold=hparams.nullspace_threshold).cpu() for name in names]
    module.P, module.P_loaded = torch.stack(projections), True
    module.cache_c, module.cache_c_new = torch.zeros_like(module.P), True
    hparams.P_loc = str(module.__file__)


def forget_last_edit(hparams: Any) -> None:
    """AlphaEdit's memory of earlier keys outlives EasyEdit's restoring of the weights: put it back as well."""
    if hparams.alg_name != "AlphaEdit":
        return
    module = host_module("models.alphaedit.AlphaEdit_main")
    if module.cache_c_new:
        module.cache_c = module.cache_c * 0
    take_up_globals(hparams.history)


def _moments(model: Any, tokenizer: Any, now: Session, names: Sequence[str]) -> dict[str, Any]:
    """For all of the hparams' layers at once, when one is asked for: one pass over the corpus."""
    from easyedit_unlearn.editors.corpus import corpus_of
    from easyedit_unlearn.editors.statistics import cached_key_moments

    hparams: Any = now.hparams
    missing = [name for name in names if name not in now.moments]
    if missing:
        every = [hparams.rewrite_module_tmp.format(layer) for layer in hparams.layers]
        corpus = corpus_of(hparams.unlearn.native, hparams.alg_name, now.retain or ())
        wanted = sorted({*every, *missing})
        now.moments.update(cached_key_moments(model, tokenizer, wanted, corpus, stage=now.stage))
    return now.moments


def _has_corpus(hparams: UnlearnHyperParams) -> bool:
    from easyedit_unlearn.editors.corpus import has_corpus

    return has_corpus(hparams.unlearn.native)
