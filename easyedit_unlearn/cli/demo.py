"""``demo``: what an editor forgets, beside EasyEdit's own and a gradient baseline, in a few minutes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easyedit_unlearn.cli.unlearn import unlearn
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.model.embedded import EMBEDDED
from easyedit_unlearn.plugins.load import Plugins

METHODS: Mapping[str, Mapping[str, Any]] = {
    "AlphaEdit/smollm2-135m": {"unlearn.native.corpus": "retain"},  # the demo has no data directory
    "ROME/smollm2-135m": {"context_template_length_params": [[5, 5]]},  # fewer random contexts, for time
    "NPO/smollm2-135m": {},
}
"""Shipped hparams, and what is given in place of what stands there."""


def demo(out: Path, *, overwrite: bool, plugins: Plugins, command: str) -> None:
    """On the embedded model and the bundled facts."""
    hparams = [UnlearnHyperParams.from_hparams(n, plugins=plugins, overrides=given) for n, given in METHODS.items()]
    config = EvalConfig.for_methods(hparams, "facts:forget5", "facts:retain10", holdout="facts:holdout10")
    unlearn(hparams, config, EMBEDDED, out, overwrite=overwrite, plugins=plugins, command=command, save=False)
