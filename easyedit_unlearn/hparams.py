"""Unlearning hparams: an EasyEdit YAML with an ``unlearn:`` block, read strictly.

The result is an instance of the method's own hparams class too, so EasyEdit's ``BaseEditor`` takes it unchanged.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from easyedit_unlearn.components import Engine, Method
from easyedit_unlearn.errors import ConfigError, UnknownNameError, suggest
from easyedit_unlearn.plugins import Plugins, default_plugins
from easyedit_unlearn.settings import UnlearnSettings, parse_settings

H = TypeVar("H", bound="UnlearnHyperParams")


class UnlearnHyperParams:
    """Mixed into the method's own hparams class by :meth:`from_hparams`; adds what unlearning needs to know.

    Attributes:
        unlearn: the ``unlearn:`` block. method: the component. engine: whose implementation runs, "host" or "native".
        source_file, overrides: where they were read, and what was given in place of what stands there.
        history: what a sequence of edits on one editor must remember; emptied when the edits are undone.
    """

    alg_name: str
    model_name: Any
    device: Any
    unlearn: UnlearnSettings
    method: Method
    engine: Engine
    source_file: str
    overrides: dict[str, Any]
    history: dict[str, Any]

    @classmethod
    def from_hparams(
        cls: type[H],
        path: str | Path,
        *,
        plugins: Plugins | None = None,
        overrides: Mapping[str, Any] | None = None,
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
        method = _method(config, plugins, str(file))
        engine = _engine(method, settings.engine, str(file))
        schema = method.host_hparams_class() if engine == "host" else method.hparams_class()
        values = _check_fields(schema, method.normalise(config), str(file), trusted=engine == "native")
        hparams: H = _combined(schema)(**values)
        hparams.unlearn, hparams.method, hparams.engine, hparams.source_file = settings, method, engine, str(file)
        hparams.history, hparams.overrides = {}, dict(overrides or {})
        if settings.mode == "batch" and not method.takes_batches(engine):
            raise ConfigError(
                f"{method.name} takes one request at a time; allowed: auto, sequential", file=file, key="unlearn.mode",
                value="batch",
            )  # fmt: skip
        return hparams


def shipped_hparams() -> Path:
    """The folder of shipped YAML files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "_shipped" / "hparams"
    return installed if installed.is_dir() else package.parent / "hparams"


def resolve_path(path: str | Path) -> Path:
    """An existing file, with or without its ending; else a shipped one. Raises ConfigError listing what is shipped."""
    folder = shipped_hparams()
    for base in (Path(path), folder / path):
        for candidate in (base, base.with_name(f"{base.name}.yaml")):
            if candidate.is_file():
                return candidate
    names = [str(p.relative_to(folder).with_suffix("")) for p in folder.glob("*/*.yaml")]
    raise ConfigError(f"no such hparams file. {suggest(str(path), names)}", file=path)


def _read(file: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
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


def _method(config: dict[str, Any], plugins: Plugins, file: str) -> Method:
    name = config.get("alg_name")
    if name is None:
        raise ConfigError(f"is missing. {suggest('', (m.name for m in plugins.methods))}", file=file, key="alg_name")
    try:
        return plugins.methods.get(str(name))
    except UnknownNameError as error:
        raise ConfigError(str(error), file=file, key="alg_name", value=name) from None


def _engine(method: Method, wanted: str, file: str) -> Engine:
    """The engine asked for; by default the host's where the installed EasyEdit has the method."""
    if wanted in ("host", "native"):
        if wanted not in method.engines:
            only = " and ".join(method.engines)
            raise ConfigError(
                f"{method.name} has only the {only} engine", file=file, key="unlearn.engine", value=wanted
            )
        return wanted  # type: ignore[return-value]
    if method.engines == ("native",):
        return "native"
    from easyedit_unlearn.host.running import host_has

    return "native" if "native" in method.engines and not host_has(method.name) else "host"


def _check_fields(schema: type, config: dict[str, Any], file: str, trusted: bool) -> dict[str, Any]:
    """Values for the dataclass ``schema``: unknown and missing keys refused, types coerced as declared.

    EasyEdit's own declarations are not ``trusted``: its files give numbers and booleans where they say otherwise.
    """
    fields = {field.name: field for field in dataclasses.fields(schema) if field.init}
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    for key, value in config.items():
        if key not in fields:
            raise ConfigError(f"unknown key. {suggest(key, [*fields, 'unlearn'])}", file=file, key=key, value=value)
    for name in required:
        if name not in config:
            raise ConfigError(f"is missing; {config['alg_name']} needs {', '.join(required)}", file=file, key=name)
    hints = get_type_hints(schema, include_extras=True)
    return {key: _coerce(hints[key], key, value, file, trusted) for key, value in config.items()}


def _coerce(hint: Any, key: str, value: Any, file: str, trusted: bool) -> Any:
    # EasyEdit declares `device: int` and accepts "cpu"; it leaves declared keys empty; a model may be a pair.
    if key == "device" or (value is None and not trusted):
        return value
    if not trusted and isinstance(value, int | float) and hint in (int, float, str):
        return value
    if isinstance(value, bool) and getattr(hint, "__origin__", hint) in (int, float):  # also Annotated[float, ...]
        raise ConfigError("must be a number", file=file, key=key, value=value)
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError as error:
        raise ConfigError(error.errors()[0]["msg"], file=file, key=key, value=value) from None


@cache
def _combined(schema: type) -> type[Any]:
    return type(f"Unlearn{schema.__name__}", (UnlearnHyperParams, schema), {})
