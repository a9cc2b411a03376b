"""Paths of weights as EasyEdit's GRACE and WISE files write them."""

from __future__ import annotations

import re
from typing import Any

from easyedit_unlearn.errors import ConfigError

_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+|\[\d+\])*\Z")


def edited_layer(inner_params: Any) -> str:
    """``model.layers[20].mlp.down_proj.weight`` -> ``model.layers.20.mlp.down_proj``.

    Raises:
        ConfigError: not the path of one weight (EasyEdit would evaluate it as Python).
    """
    if not isinstance(inner_params, list) or len(inner_params) != 1 or not _PATH.match(str(inner_params[0])):
        raise ConfigError(
            "must name one weight, such as model.layers[20].mlp.down_proj.weight", key="inner_params",
            value=inner_params,
        )  # fmt: skip
    path = str(inner_params[0]).replace("[", ".").replace("]", "")
    return path.removesuffix(".weight").removesuffix(".bias")


def decoder_layers(name: str) -> list[str]:
    """The decoder layers up to the one that holds ``name``, in order."""
    before, number, _ = re.split(r"\.(\d+)\.", name, maxsplit=1) if re.search(r"\.\d+\.", name) else ("", "", "")
    if not number:
        raise ConfigError(f"{name!r} does not lie in a numbered decoder layer", key="inner_params")
    return [f"{before}.{i}" for i in range(int(number) + 1)]
