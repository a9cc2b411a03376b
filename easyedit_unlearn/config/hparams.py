"""Unlearning hparams: an EasyEdit YAML with an ``unlearn:`` block, read strictly.

The result is an instance of the method's own hparams class too, so EasyEdit's ``BaseEditor`` takes it unchanged.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from easyedit_unlearn.components import Engine, Method
from easyedit_unlearn.config.engine import resolve_method
from easyedit_unlearn.config.schema import check_fields
from easyedit_unlearn.config.settings import UnlearnSettings, parse_settings
from easyedit_unlearn.config.shipped import resolve_path
from easyedit_unlearn.errors import ConfigError, suggest
from easyedit_unlearn.plugins.load import Plugins, default_plugins
from easyedit_unlearn.yamls import load_yaml

H = TypeVar("H", bound="UnlearnHyperParams")


class UnlearnHyperParams:
    """Mixed into the method's own hparams class by :meth:`from_hparams`; adds what unlearning needs to know.

    Attributes:
        unlearn: the ``unlearn:`` block. method: what runs, EasyEdit's editor or ours.
        source_file, overrides: where they were read, and what was given in place of what stands there.
    """

    alg_name: str
    model_name: Any
    device: Any
    unlearn: UnlearnSettings
    method: Method
    source_file: str
    overrides: dict[str, Any]

    @property
    def engine(self) -> Engine:
        """Whose implementation runs, "host" or "native"."""
        return self.method.engine

    @classmethod
    def from_hparams(
        cls: type[H], path: str | Path, *, plugins: Plugins | None = None, overrides: Mapping[str, Any] | None = None
    ) -> H:
        """Read a YAML file, or a shipped one by name such as ``"ROME/smollm2-135m"`` (an existing path wins).

        ``overrides`` stand in for what the file says, by dotted key: ``{"unlearn.merge": {"merger": "concat"}}``.

        Raises:
            ConfigError: unknown key or name, wrong type, missing key; names the file, the key and what is allowed.
            HostError: the method is EasyEdit's and no EasyEdit, or one without it, is installed.
        """
        file = resolve_path(path)
        config = _overridden(_read(file), overrides or {}, file)
        plugins = plugins or default_plugins()
        if "unlearn" not in config:
            raise ConfigError("has no 'unlearn:' block; add one ('unlearn: {}' takes the defaults)", file=file)
        settings = parse_settings(config.pop("unlearn"), plugins, str(file))
        if config.get("alg_name") is None:
            raise ConfigError(f"is missing. {suggest('', plugins.methods.names)}", file=file, key="alg_name")
        method = resolve_method(str(config["alg_name"]), settings.engine, plugins, str(file))
        schema = method.hparams_class()
        values = check_fields(schema, method.normalise(config), str(file), trusted=method.engine == "native")
        hparams: H = _combined(schema)(**values)
        hparams.unlearn, hparams.method = settings, method
        hparams.source_file, hparams.overrides = str(file), dict(overrides or {})
        if settings.mode == "batch" and not method.batchable:
            raise ConfigError(
                f"{method.name} takes one request at a time; allowed: auto, sequential", file=file, key="unlearn.mode",
                value="batch",
            )  # fmt: skip
        return hparams


def _read(file: Path) -> dict[str, Any]:
    try:
        config = load_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # PyYAML itself raises ValueError for dates
        raise ConfigError(f"cannot be read as YAML: {' '.join(str(error).split())}", file=file) from None
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise ConfigError("must be a mapping of names to values", file=file)
    return config


def _overridden(config: dict[str, Any], overrides: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """``config``, changed in place. Raises ConfigError when a key leads through something that is no mapping."""
    for key, value in overrides.items():
        *path, last = key.split(".")
        block = config
        for part in path:
            if block.get(part) is None:
                block[part] = {}
            block = block[part]
            if not isinstance(block, dict):
                raise ConfigError(f"{part!r} is no mapping in the file", file=file, key=key, value=value)
        block[last] = copy.deepcopy(value)
    return config


@cache
def _combined(schema: type) -> type[Any]:
    return type(f"Unlearn{schema.__name__}", (UnlearnHyperParams, schema), {})
