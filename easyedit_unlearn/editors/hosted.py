"""EasyEdit's own editors, named here so that configs and listings know them before EasyEdit is imported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.components import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# alg_name -> (the host's dataclass for its hparams, whether it edits at the subject's tokens, summary with the paper)
_EDITORS = {
    "ROME": ("ROMEHyperParams", True, "Rank-one model editing (arXiv 2202.05262), EasyEdit's own."),
    "R-ROME": ("R_ROMEHyperParams", True, "ROME with the key fixed for sequences (arXiv 2403.07175), EasyEdit's own."),
    "MEMIT": ("MEMITHyperParams", True, "Mass editing over layers (arXiv 2210.07229), EasyEdit's own."),
    "AlphaEdit": ("AlphaEditHyperParams", True, "Null-space constrained editing (arXiv 2410.02355), EasyEdit's own."),
    "GRACE": ("GraceHyperParams", False, "A codebook of edits at one layer (arXiv 2211.11031), EasyEdit's own."),
    "WISE": ("WISEHyperParams", False, "A side memory with routing (arXiv 2405.14768), EasyEdit's own."),
    "FT": ("FTHyperParams", False, "Fine-tuning of one layer on the new target, EasyEdit's own."),
}
_BATCHABLE = {"MEMIT", "AlphaEdit", "FT"}


class HostedEditor(Method):
    """An editor whose implementation is the host's."""

    engine = "host"

    def __init__(self, name: str, hparams: str, needs_subject: bool, summary: str) -> None:
        self.name, self.summary, self.needs_subject = name, summary, needs_subject
        self.batchable = name in _BATCHABLE
        self._hparams = hparams

    def hparams_class(self) -> type[Any]:
        from easyedit_unlearn.host.running import hparams_class

        return hparams_class(self.name, self._hparams)

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


def hosted_editors() -> Sequence[HostedEditor]:
    return [HostedEditor(name, *about) for name, about in _EDITORS.items()]
