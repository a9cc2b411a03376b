"""What EasyEdit's editors need and would fetch from elsewhere, or leave behind: statistics, projections, neighbours.

EasyEdit streams Wikipedia from the Hub for the key covariances, layer by layer, and saves AlphaEdit's projection into
the working directory. Here both come from the local corpus that the hparams or the data directory name; where neither
names one, EasyEdit does as it always did.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import wrapt

from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.editors.corpus import corpus_of, has_corpus
from easyedit_unlearn.editors.statistics import cached_key_moments, cached_null_space
from easyedit_unlearn.errors import ConfigError, HostError, in_one_line
from easyedit_unlearn.host.find import PACKAGE
from easyedit_unlearn.host.session import Session, active, host_module, take_up_globals
from easyedit_unlearn.model.hooks import layer_shape
from easyedit_unlearn.model.memories import attached
from easyedit_unlearn.model.structure import edited_layer

_PROJECTED = {"AlphaEdit": "models.alphaedit.AlphaEdit_main", "SPHERE": "models.SPHERE.SPHERE_main"}
"""Editors that project on a null space, and where they keep it."""
_NEIGHBOURS = (
    "The weather was mild that day.", "She closed the book and went outside.", "Bread is made of flour and water.",
)  # fmt: skip
"""What WISE must leave alone when there is no retain set at all."""


def adapt_statistics() -> None:
    """Have EasyEdit's editors ask us for key covariances."""
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{PACKAGE}.models.") and callable(vars(module).get("layer_stats")):
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
    if hparams.method.engine != "host":
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
    if hparams.alg_name in _PROJECTED and not now.before and (_has_corpus(hparams) or Path(hparams.P_loc).is_file()):
        _supply_projection(editor, now)
    if hparams.alg_name == "DPO" and kwargs.get("ground_truth"):  # the answer is what is not preferred
        kwargs.setdefault("target_neg", kwargs["ground_truth"])


def untie(hparams: Any, model: Any) -> None:
    """EasyEdit's MEMIT and AlphaEdit look the output weight up by name; tied to the input's, it has only that one's."""
    named = getattr(hparams, "lm_head_module", None)
    embedding = model.get_input_embeddings()
    if hparams.method.engine == "host" and named and getattr(model.config, "tie_word_embeddings", False):
        names = {name for name, _ in model.named_parameters()}
        if f"{named}.weight" not in names:
            hparams.lm_head_module = next(name for name, module in model.named_modules() if module is embedding)


def _supply_projection(editor: Any, now: Session) -> None:
    """P and the memory of earlier keys are module globals; ``P_loc`` only says that P exists."""
    hparams = editor.hparams
    module = host_module(_PROJECTED[hparams.alg_name])
    names = [hparams.rewrite_module_tmp.format(layer) for layer in hparams.layers]
    if Path(hparams.P_loc).is_file():
        module.P = _own_projection(hparams, editor.model, names)
    else:
        moments = _moments(editor.model, editor.tok, now, names)
        threshold = hparams.nullspace_threshold
        module.P = torch.stack([cached_null_space(moments[name], threshold=threshold).cpu() for name in names])
    module.P_loaded = True
    module.cache_c, module.cache_c_new = torch.zeros_like(module.P), True
    hparams.P_loc = str(module.__file__)


def _own_projection(hparams: Any, model: Any, names: Sequence[str]) -> torch.Tensor:
    """The projections that the user's file holds, (layers, d_key, d_key). Raises ConfigError for any others."""
    with in_one_line(f"P_loc: {hparams.P_loc}: cannot be read as EasyEdit's projections"):
        found = torch.load(hparams.P_loc, map_location="cpu", weights_only=True)
    wide = [layer_shape(model.get_submodule(name)) for name in names]
    wanted = (len(names), *(wide[0][1:] * 2 if wide[0] else ()))
    if not isinstance(found, torch.Tensor) or tuple(found.shape) != wanted:
        raise ConfigError(f"must hold a tensor of shape {wanted}", key="P_loc", value=hparams.P_loc)
    return found.float()


def forget_last_edit(hparams: Any, before: Mapping[str, Any]) -> None:
    """The memory of earlier keys outlives EasyEdit's restoring of the weights: put it back as well."""
    if hparams.alg_name not in _PROJECTED:
        return
    module = host_module(_PROJECTED[hparams.alg_name])
    if module.cache_c_new:
        module.cache_c = module.cache_c * 0
    take_up_globals(before)


def _moments(model: Any, tokenizer: Any, now: Session, names: Sequence[str]) -> dict[str, Any]:
    """For all of the hparams' layers at once, when one is asked for: one pass over the corpus."""
    hparams: Any = now.hparams
    missing = [name for name in names if name not in now.moments]
    if missing:
        every = [hparams.rewrite_module_tmp.format(layer) for layer in hparams.layers]
        corpus = corpus_of(hparams.unlearn.native, hparams.alg_name, now.retain or ())
        wanted = sorted({*every, *missing})
        now.moments.update(cached_key_moments(model, tokenizer, wanted, corpus, progress=now.progress))
    return now.moments


def _has_corpus(hparams: UnlearnHyperParams) -> bool:
    return has_corpus(hparams.unlearn.native)
