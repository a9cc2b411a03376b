"""EasyEdit's own editors as unlearners: whatever stands in its ``ALG_DICT``, by name, with its own hparams."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from typing import Any

from easyedit_unlearn.builtins import EASYEDIT
from easyedit_unlearn.components import Method
from easyedit_unlearn.config.schema import check_fields
from easyedit_unlearn.config.shipped import resolve_path
from easyedit_unlearn.editors.wise import named_margins
from easyedit_unlearn.errors import ConfigError, HostError
from easyedit_unlearn.host.contract import own_editors
from easyedit_unlearn.host.find import GET_MAIN, find_host
from easyedit_unlearn.host.running import import_host
from easyedit_unlearn.host.session import host_module
from easyedit_unlearn.model.structure import edited_layer, parameters_of
from easyedit_unlearn.yamls import load_yaml

_TEMPLATED = frozenset(["ROME", "R-ROME", "MEMIT", "MEMIT-FE", "AlphaEdit", "SPHERE", "EMMET", "EAMET", "CORE", "FT"])
"""Change no more than ``rewrite_module_tmp`` of ``layers``; of others the whole model is kept."""
_ONE_WEIGHT = ("GRACE", "WISE", "DEFER")
"""Name one weight by its path, which EasyEdit evaluates as Python."""
_REFUSED = {
    "IKE": "edits no model: it puts demonstrations from a training set before every question. ICR is of that kind",
    "FT-Api": "fine-tunes a model behind an API: there is no model here to evaluate",
    "DeepEdit-Api": "asks a model behind an API: there is no model here to evaluate",
    "MELO": "edits through a copy of PEFT and a classifier that EasyEdit downloads, and cannot be undone",
    "DINM": "finds its layer by a safe and an unsafe reply, which facts do not have; EasyEdit's SafetyEditor runs it",
}
_TRAINED = ("MEND", "SERAC")


class HostEditors:
    """The editors that the installed EasyEdit brings itself."""

    def has(self, name: str) -> bool:
        return find_host() is not None and name in self.names

    @property
    def names(self) -> frozenset[str]:
        """Raises HostError: EasyEdit is missing, or does not import."""
        import_host()
        return frozenset(own_editors())

    def get(self, name: str) -> HostEditor:
        """Raises HostError: the installed EasyEdit has no such editor."""
        info = import_host()
        if name not in own_editors():
            raise HostError(
                f"the installed EasyEdit ({info}) has no {name}; it has {', '.join(sorted(own_editors()))}. "
                f"The main branch has all editors: {GET_MAIN}"
            )
        return HostEditor(name)


class HostEditor(Method):
    """One editor of EasyEdit's. Its hparams are EasyEdit's dataclass; it restores as EasyEdit's kind of editor does."""

    engine = "host"

    def __init__(self, name: str) -> None:
        self.name, self.summary = name, EASYEDIT.get(name, "An editor of the installed EasyEdit.")
        self.reads_retain = name == "WISE"
        self.batchable = bool(host_module("editors.batch_editor").BatchEditor.is_batchable_method(name))
        fields = {field.name for field in dataclasses.fields(_dataclass(name))}
        self.needs_subject = "fact_token" in fields or name == "SimIE"

    def hparams_class(self) -> type:
        if self.name in _REFUSED:
            raise HostError(f"EasyEdit's {self.name} {_REFUSED[self.name]}")
        found: type = _dataclass(self.name)
        return found

    def normalise(self, config: dict[str, Any]) -> dict[str, Any]:
        """Raises ConfigError: ``inner_params`` is no path. HostError: the editor's own network is not named."""
        if self.name in _ONE_WEIGHT and "inner_params" in config:
            edited_layer(config["inner_params"])
        if self.name in _TRAINED and not config.get("archive"):
            raise HostError(
                f"EasyEdit's {self.name} needs a network that its trainer (EditTrainer) makes first: name it as archive"
            )
        replaced = config.get("replacement", "replace_last")
        if self.name == "GRACE" and replaced != "replace_last":
            raise ConfigError(
                "EasyEdit trains this value on more tokens than the one whose key is remembered, and loses it when it "
                "generates; allowed: replace_last", key="replacement", value=replaced,
            )  # fmt: skip
        return named_margins(config) if self.name == "WISE" else config

    def complete(self, hparams: Any) -> None:
        """What EasyEdit's own ``from_hparams`` adds: SimIE's base editor, whose file lies beside its own."""
        if self.name == "SimIE":
            file = str(hparams.source_file).replace("/SimIE/", f"/{hparams.base_method}/")
            config = load_yaml(resolve_path(file).read_text(encoding="utf-8"))
            config.pop("unlearn", None)
            base = _dataclass(hparams.base_method)
            hparams._base_hparams = base(**check_fields(base, config, file, trusted=False))
            hparams._base_hparams.device = hparams.device

    def parameters(self, model: Any, hparams: Any) -> Iterable[str]:
        if self.name in ("GRACE", "WISE"):
            return [f"{edited_layer(hparams.inner_params)}.weight"]
        template, layers = getattr(hparams, "rewrite_module_tmp", None), getattr(hparams, "layers", None)
        if self.name in _TEMPLATED and template and layers:
            return parameters_of(model, [template.format(layer) for layer in layers])
        return super().parameters(model, hparams)


def _dataclass(name: str) -> Any:
    """EasyEdit's hparams class of an editor: the dataclass that its package exports.

    Raises:
        ConfigError: there is none to be found.
    """
    function = own_editors()[name]
    package = getattr(function, "__func__", function).__module__.rpartition(".")[0]
    wanted = "".join(filter(str.isalnum, name)).casefold()
    found = [
        value
        for key, value in vars(sys.modules[package]).items()
        if dataclasses.is_dataclass(value) and isinstance(value, type) and "multimodal" not in key.casefold()
        and value.__module__.startswith(package)
    ]  # fmt: skip
    named = [value for value in found if value.__name__.replace("_", "").casefold().startswith(wanted)]
    if not (named or found):
        raise ConfigError(f"EasyEdit's {name} has no hparams class that could be found", key="alg_name", value=name)
    return (named or found)[0]
