"""The knowledge editors by name: EasyEdit's own implementation, ours, or both; the hparams say which runs."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.components import Engine, Method, Stage
from easyedit_unlearn.editors.hparams import (
    AlphaEditHyperParams,
    BatchedHyperParams,
    GraceHyperParams,
    ROMEHyperParams,
    WISEHyperParams,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class _About:
    """``host`` names EasyEdit's dataclass for the hparams; ``native`` our class (module:name) and its dataclass."""

    host: str
    summary: str
    needs_subject: bool = False
    batchable: bool = False
    native: tuple[str, type] | None = None
    weights: bool = True  # or a memory beside them


_EDITORS = {
    "ROME": _About(
        "ROMEHyperParams",
        "Rank-one model editing (arXiv 2202.05262).",
        needs_subject=True,
        native=("native:NativeROME", ROMEHyperParams),
    ),
    "R-ROME": _About("R_ROMEHyperParams", "ROME with the key fixed for sequences (arXiv 2403.07175).", True),
    "MEMIT": _About(
        "MEMITHyperParams",
        "Mass editing over layers (arXiv 2210.07229).",
        needs_subject=True,
        batchable=True,
        native=("native:NativeMEMIT", BatchedHyperParams),
    ),
    "AlphaEdit": _About(
        "AlphaEditHyperParams",
        "Null-space constrained editing (arXiv 2410.02355).",
        needs_subject=True,
        batchable=True,
        native=("native:NativeAlphaEdit", AlphaEditHyperParams),
    ),
    "GRACE": _About(
        "GraceHyperParams",
        "A codebook of edits at one layer (arXiv 2211.11031).",
        native=("memories:NativeGRACE", GraceHyperParams),
        weights=False,
    ),
    "WISE": _About(
        "WISEHyperParams",
        "A side memory with routing (arXiv 2405.14768).",
        native=("memories:NativeWISE", WISEHyperParams),
        weights=False,
    ),
    "FT": _About("FTHyperParams", "Fine-tuning of one layer on the new target.", batchable=True),
}


class Editor(Method):
    """One knowledge editor of the table above."""

    def __init__(self, name: str, about: _About) -> None:
        self.name, self.summary, self._about = name, about.summary, about
        self.needs_subject, self.batchable = about.needs_subject, about.batchable
        self.engines: tuple[Engine, ...] = ("host", "native") if about.native else ("host",)

    def takes_batches(self, engine: Engine) -> bool:
        """As EasyEdit has it; our own GRACE and WISE take batches too."""
        return self.batchable or (engine == "native" and not self._about.weights)

    def shares_values(self, engine: Engine) -> bool:
        """Our own, which find a value and then where to put it."""
        return engine == "native" and self._about.native is not None

    def hparams_class(self) -> type[Any]:
        return self._native()[1]

    def host_hparams_class(self) -> type[Any]:
        from easyedit_unlearn.host.running import hparams_class

        return hparams_class(self.name, self._about.host)

    def normalise(self, config: dict[str, Any]) -> dict[str, Any]:
        """EasyEdit's WISE files hold ``act_margin: [alpha, beta, gamma]``; its class takes the three by name.

        Raises:
            ConfigError: ``inner_params`` is no path, which EasyEdit would evaluate as Python.
        """
        if "inner_params" in config:
            from easyedit_unlearn.editors.paths import edited_layer

            edited_layer(config["inner_params"])
        margin = config.get("act_margin")
        if self.name != "WISE" or not (isinstance(margin, list) and len(margin) == 3):
            return config
        rest = {key: value for key, value in config.items() if key != "act_margin"}
        return rest | dict(zip(("alpha", "beta", "gamma"), margin, strict=True))

    def parameters(self, model: PreTrainedModel, hparams: Any) -> Iterable[str]:
        """The edited layers' weights and biases; none for our own GRACE and WISE, which act beside them."""
        if not self._about.weights and hparams.engine == "native":
            return []
        if not self._about.weights:
            from easyedit_unlearn.editors.paths import edited_layer

            return [f"{edited_layer(hparams.inner_params)}.weight"]
        template, layers = getattr(hparams, "rewrite_module_tmp", None), getattr(hparams, "layers", None)
        if not template or not layers:
            return super().parameters(model, hparams)
        modules = tuple(f"{template.format(layer)}." for layer in layers)
        names = [name for name, _ in model.named_parameters() if name.startswith(modules)]
        return names or [f"{modules[0]}weight"]  # which the guard refuses with a message

    def apply(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        requests: Sequence[Mapping[str, Any]],
        hparams: Any,
        *,
        retain: Sequence[tuple[str, str]],
        stage: Stage,
    ) -> None:
        module, name = self._native()[0].split(":")
        native = getattr(importlib.import_module(f"easyedit_unlearn.editors.{module}"), name)()
        native.apply(model, tokenizer, requests, hparams, retain=retain, stage=stage)

    def _native(self) -> tuple[str, type]:
        if self._about.native is None:
            raise NotImplementedError(f"{self.name} has no native implementation")
        return self._about.native


def editors() -> Sequence[Editor]:
    return [Editor(name, about) for name, about in _EDITORS.items()]
