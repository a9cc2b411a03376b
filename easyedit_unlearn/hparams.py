"""Unlearning hparams: an EasyEdit YAML with an ``unlearn:`` block, read strictly.

The result is an instance of the method's own hparams class too, so EasyEdit's ``BaseEditor`` takes it unchanged.
"""

from __future__ import annotations

import dataclasses
import os
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from easyedit_unlearn.components import Engine, Method, QueryMerger, TargetBuilder
from easyedit_unlearn.errors import ConfigError, UnknownNameError, suggest
from easyedit_unlearn.plugins import Plugins, default_plugins
from easyedit_unlearn.prompting import PromptStyle
from easyedit_unlearn.tasks.splits import Source, make_source

H = TypeVar("H", bound="UnlearnHyperParams")


class NativeOptions(BaseModel):
    """The ``unlearn.native:`` block: what our own ROME, MEMIT and AlphaEdit take beside EasyEdit's keys.

    Attributes:
        contexts: in how many system prompts an edit must hold, the chat template's own first.
        corpus: a text file for the key statistics; by default the corpus in the data directory.
        corpus_tokens: how many of its tokens to use.
        retain_weight: how much the mean key moment of the retain prompts counts against the corpus's.
        null_space_dimensions: AlphaEdit keeps that many directions of least variance; without it, those below
            EasyEdit's key nullspace_threshold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contexts: int = Field(default=2, ge=1, le=3)
    corpus: Path | None = None
    corpus_tokens: int = Field(default=65_536, ge=1)
    retain_weight: float = Field(default=3.0, ge=0)
    null_space_dimensions: int | None = Field(default=None, ge=1)

    def corpus_path(self, method: str) -> Path:
        """Raises ConfigError when no corpus is named anywhere."""
        data = os.environ.get("EASYEDIT_UNLEARN_DATA")
        if self.corpus is None and not data:
            raise ConfigError(
                f"{method} needs text to know which keys it must not disturb: name a file, or set "
                "EASYEDIT_UNLEARN_DATA to a data directory with corpus/wikitext2-valid.txt",
                key="unlearn.native.corpus",
            )
        return self.corpus or Path(str(data)) / "corpus" / "wikitext2-valid.txt"


class _Block(BaseModel):
    """The ``unlearn:`` block as written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    target: dict[str, Any] = {"builder": "fixed"}
    merge: dict[str, Any] = {"merger": "none"}
    retain: dict[str, Any] | None = None
    engine: Literal["auto", "host", "native"] = "auto"
    mode: Literal["auto", "sequential", "batch"] = "auto"
    prompt: PromptStyle = "auto"
    answers: Literal["model", "dataset"] = "model"
    max_new_tokens: int = Field(default=48, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    native: NativeOptions = NativeOptions()


@dataclasses.dataclass(frozen=True)
class UnlearnSettings:
    """The ``unlearn:`` block with every name resolved.

    Attributes:
        builder, merger: the target builder and query merger, with their validated options.
        retain: where retain data comes from when the call gives none.
        engine: "host" or "native" insists; "auto" takes the host's implementation where it has one.
        mode: "sequential" edits one request after the other, "batch" all at once; "auto" batches where possible.
        prompt: chat template or bare question; "auto" decides by the tokenizer.
        answers: what baselines forget and retain: the model's own full reply, or the data set's answer.
        max_new_tokens: longest reply asked of the model.
        seed: of every draw made in a run.
        native: what our own editors take beside EasyEdit's keys.
    """

    builder: TargetBuilder
    builder_options: BaseModel
    merger: QueryMerger
    merger_options: BaseModel
    retain: Source | None
    engine: Literal["auto", "host", "native"]
    mode: Literal["auto", "sequential", "batch"]
    prompt: PromptStyle
    answers: Literal["model", "dataset"]
    max_new_tokens: int
    seed: int
    native: NativeOptions


class UnlearnHyperParams:
    """Mixed into the method's own hparams class by :meth:`from_hparams`; adds what unlearning needs to know.

    Attributes:
        unlearn: the ``unlearn:`` block. method: the component. engine: whose implementation runs, "host" or "native".
    """

    alg_name: str
    model_name: Any
    device: Any
    unlearn: UnlearnSettings
    method: Method
    engine: Engine
    source_file: str

    @classmethod
    def from_hparams(cls: type[H], path: str | Path, *, plugins: Plugins | None = None) -> H:
        """Read a YAML file, or a shipped one by name such as ``"ROME/smollm2-135m"`` (an existing path wins).

        Raises:
            ConfigError: unknown key or name, wrong type, missing key; names the file, the key and what is allowed.
            HostError: the method is EasyEdit's and no EasyEdit, or one without it, is installed.
        """
        file = resolve_path(path)
        config = _read(file)
        plugins = plugins or default_plugins()
        block = config.pop("unlearn", None)
        if block is None and "unlearn" not in _read(file):
            raise ConfigError("has no 'unlearn:' block; add one ('unlearn: {}' takes the defaults)", file=file)
        settings = _settings(block, plugins, str(file))
        method = _method(config, plugins, str(file))
        engine = _engine(method, settings.engine, str(file))
        schema = method.host_hparams_class() if engine == "host" else method.hparams_class()
        values = _check_fields(schema, method.normalise(config), str(file), trusted=engine == "native")
        hparams: H = _combined(schema)(**values)
        hparams.unlearn, hparams.method, hparams.engine, hparams.source_file = settings, method, engine, str(file)
        if settings.mode == "batch" and not method.batchable:
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
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read as YAML: {' '.join(str(error).split())}", file=file) from None
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise ConfigError("must be a mapping of names to values", file=file)
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


def _settings(block: Any, plugins: Plugins, file: str) -> UnlearnSettings:
    if block is not None and not isinstance(block, dict):
        raise ConfigError("must be a mapping", file=file, key="unlearn", value=block)
    try:
        parsed = _Block.model_validate(block or {})
    except ValidationError as error:
        raise _translated(error, file, "unlearn.", _Block, block) from None
    builder, builder_options = _choice(parsed.target, "target", "builder", plugins.target_builders, file)
    merger, merger_options = _choice(parsed.merge, "merge", "merger", plugins.query_mergers, file)
    try:
        retain = make_source(parsed.retain, plugins.tasks, file, "unlearn.retain.") if parsed.retain else None
    except UnknownNameError as error:
        raise ConfigError(str(error), file=file, key="unlearn.retain.task") from None
    rest = parsed.model_dump(exclude={"target", "merge", "retain", "native"})
    return UnlearnSettings(builder, builder_options, merger, merger_options, retain, native=parsed.native, **rest)


def _choice(block: dict[str, Any], section: str, key: str, registry: Any, file: str) -> tuple[Any, BaseModel]:
    """A component named by ``block[key]``; the rest of the block are its options."""
    options = dict(block)
    name = options.pop(key, None)
    try:
        component = registry.get(str(name))
        return component, component.Options.model_validate(options)
    except UnknownNameError as error:
        raise ConfigError(str(error), file=file, key=f"unlearn.{section}.{key}", value=name) from None
    except ValidationError as error:
        raise _translated(error, file, f"unlearn.{section}.", component.Options, options, extra=key) from None


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


def _translated(
    error: ValidationError, file: str, prefix: str, model: type[BaseModel], given: Any, extra: str | None = None
) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    names = [*model.model_fields, *([extra] if extra else [])]
    problem = f"unknown key. {suggest(key, names)}" if first["type"] == "extra_forbidden" else first["msg"]
    return ConfigError(problem, file=file, key=f"{prefix}{key}", value=(given or {}).get(key))


@cache
def _combined(schema: type) -> type[Any]:
    return type(f"Unlearn{schema.__name__}", (UnlearnHyperParams, schema), {})
