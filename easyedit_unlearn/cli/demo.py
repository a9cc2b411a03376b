"""``demo``: what an editor forgets, beside EasyEdit's own and a gradient baseline, in a few minutes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easyedit_unlearn.cli.unlearn import unlearn
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.resolve import read_hparams
from easyedit_unlearn.model.embedded import EMBEDDED
from easyedit_unlearn.plugins.load import Plugins

SHORT = {"unlearn.max_new_tokens": 32}
METHODS: Mapping[str, dict[str, Any]] = {
    "AlphaEdit/smollm2-135m": {"unlearn.native.corpus": "retain"},  # the demo has no data directory
    "ROME/smollm2-135m": {"context_template_length_params": []},
    "NPO/smollm2-135m": {"rounds": 3, "learning_rate": 3e-4},
}
"""Shipped hparams, and what is given in place of what stands there: one context, fewer but larger steps, for time."""


def demo(out: Path, *, overwrite: bool, plugins: Plugins, command: str) -> None:
    """On the embedded model and the bundled facts."""
    named = [(name, SHORT | more) for name, more in METHODS.items()]
    hparams = [read_hparams(name, plugins, overrides) for name, overrides in named]
    config = EvalConfig.for_methods(hparams, "facts:forget5", "facts:retain10", holdout="facts:holdout10")
    unlearn(named, config, EMBEDDED, out, overwrite=overwrite, plugins=plugins, command=command, save=False)
