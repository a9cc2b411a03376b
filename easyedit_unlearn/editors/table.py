"""The knowledge editors by name: EasyEdit's own implementation, ours, or both; the hparams say which runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.components import Engine, Method, Stage
from easyedit_unlearn.editors.hparams import AlphaEditHyperParams, BatchedHyperParams, ROMEHyperParams
from easyedit_unlearn.editors.native import LocateThenEdit, NativeAlphaEdit, NativeMEMIT, NativeROME

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class _About:
    """``host`` names EasyEdit's dataclass for the hparams; ``native`` is our implementation and its dataclass."""

    host: str
    summary: str
    needs_subject: bool = False
    batchable: bool = False
    native: tuple[LocateThenEdit, type] | None = None


_EDITORS = {
    "ROME": _About(
        "ROMEHyperParams",
        "Rank-one model editing (arXiv 2202.05262).",
        needs_subject=True,
        native=(NativeROME(), ROMEHyperParams),
    ),
    "R-ROME": _About("R_ROMEHyperParams", "ROME with the key fixed for sequences (arXiv 2403.07175).", True),
    "MEMIT": _About(
        "MEMITHyperParams",
        "Mass editing over layers (arXiv 2210.07229).",
        needs_subject=True,
        batchable=True,
        native=(NativeMEMIT(), BatchedHyperParams),
    ),
    "AlphaEdit": _About(
        "AlphaEditHyperParams",
        "Null-space constrained editing (arXiv 2410.02355).",
        needs_subject=True,
        batchable=True,
        native=(NativeAlphaEdit(), AlphaEditHyperParams),
    ),
    "GRACE": _About("GraceHyperParams", "A codebook of edits at one layer (arXiv 2211.11031)."),
    "WISE": _About("WISEHyperParams", "A side memory with routing (arXiv 2405.14768)."),
    "FT": _About("FTHyperParams", "Fine-tuning of one layer on the new target.", batchable=True),
}


class Editor(Method):
    """One knowledge editor of the table above."""

    def __init__(self, name: str, about: _About) -> None:
        self.name, self.summary, self._about = name, about.summary, about
        self.needs_subject, self.batchable = about.needs_subject, about.batchable
        self.engines: tuple[Engine, ...] = ("host", "native") if about.native else ("host",)

    def hparams_class(self) -> type[Any]:
        return self._native()[1]

    def host_hparams_class(self) -> type[Any]:
        from easyedit_unlearn.host.running import hparams_class

        return hparams_class(self.name, self._about.host)

    def normalise(self, config: dict[str, Any]) -> dict[str, Any]:
        """EasyEdit's WISE files hold ``act_margin: [alpha, beta, gamma]``; its class takes the three by name."""
        margin = config.get("act_margin")
        if self.name != "WISE" or not (isinstance(margin, list) and len(margin) == 3):
            return config
        rest = {key: value for key, value in config.items() if key != "act_margin"}
        return rest | dict(zip(("alpha", "beta", "gamma"), margin, strict=True))

    def parameters(self, model: PreTrainedModel, hparams: Any) -> Iterable[str]:
        """The edited layers' weights and biases where the hparams name them, as all but GRACE's and WISE's do."""
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
        self._native()[0].apply(model, tokenizer, requests, hparams, retain=retain, stage=stage)

    def _native(self) -> tuple[LocateThenEdit, type]:
        if self._about.native is None:
            raise NotImplementedError(f"{self.name} has no native implementation")
        return self._about.native


def editors() -> Sequence[Editor]:
    return [Editor(name, about) for name, about in _EDITORS.items()]
