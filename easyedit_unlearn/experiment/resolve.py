"""Hparams as they are named: a file, a shipped one, or a method alone, whose settings then come from the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easyedit_unlearn.config.derive import hparams_name, reference_file
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.editors.corpus import has_corpus
from easyedit_unlearn.host.session import check_acts
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.types import ModelPair


def is_file(named: str | Path) -> bool:
    """True if it is a file's path or a shipped one's name rather than a method's name."""
    return str(named).endswith((".yaml", ".yml")) or "/" in str(named) or Path(named).is_file()


def read_hparams(named: str, plugins: Plugins, overrides: Mapping[str, Any] | None = None) -> UnlearnHyperParams:
    """What can be read and checked before a model is loaded: of a method alone, the file that others are derived from.

    Raises:
        ConfigError: no such file or method ("did you mean"), or what stands in it is wrong.
    """
    if is_file(named):
        return UnlearnHyperParams.from_hparams(named, plugins=plugins, overrides=overrides)
    asked = {"unlearn.prompt": "auto", **(overrides or {})}  # a derived file asks as the model has it
    return UnlearnHyperParams.from_hparams(reference_file(named, plugins), plugins=plugins, overrides=asked)


def for_model(
    named: str, pair: ModelPair, plugins: Plugins, overrides: Mapping[str, Any] | None = None
) -> UnlearnHyperParams:
    """The same for a model that is loaded, checked to act on it.

    Raises:
        ConfigError, UnlearnError: the method cannot act on this model, said before any work is done.
    """
    name = named if is_file(named) else hparams_name(named, *pair, plugins)
    hparams = UnlearnHyperParams.from_hparams(name, plugins=plugins, overrides=overrides)
    check_acts(pair[0], hparams)
    return hparams if is_file(named) else with_text(hparams, overrides or {}, plugins)


def with_text(hparams: UnlearnHyperParams, overrides: Mapping[str, Any], plugins: Plugins) -> UnlearnHyperParams:
    """Editors that need plain text, where none is named anywhere, take the retain set for it."""
    if has_corpus(hparams.unlearn.native) or hparams.method.engine != "native":
        return hparams
    return UnlearnHyperParams.from_hparams(
        hparams.source_file, plugins=plugins, overrides={**overrides, "unlearn.native.corpus": "retain"}
    )
