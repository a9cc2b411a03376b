"""The ``unlearn:`` block of a YAML file: parsed strictly, every name resolved to a component."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from easyedit_unlearn.components import QueryMerger, TargetBuilder
from easyedit_unlearn.errors import ConfigError, UnknownNameError, suggest
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.tasks.splits import Source, make_source
from easyedit_unlearn.types import PromptStyle


class NativeOptions(BaseModel):
    """The ``unlearn.native:`` block: what our own editors take beside EasyEdit's keys.

    Attributes:
        contexts: in how many settings of a chat an edit must hold: the template's own, other system prompts, and after
            an earlier turn. wordings: in how many other words as well (``editors.contexts.WORDINGS``).
        corpus: text for the key statistics, EasyEdit's own engine's too: a file, ``retain`` for the retain set, or
            ``hub:NAME[:CONFIG]`` for the train split of a Hub data set; by default the data directory's corpus.
        corpus_tokens: how many of its tokens to use.
        retain_weight: how much the mean key moment of the retain prompts counts against the corpus's.
        hold_retain: how much AlphaEdit holds what the retain prompts' own keys map to, as it holds what earlier edits
            map to (K_p); 0: they only shape the null space.
        null_space_dimensions: AlphaEdit keeps that many directions of least variance; without it, those below
            EasyEdit's key nullspace_threshold.
        passes: how often ROME, MEMIT and AlphaEdit find values and write them, the facts anew that do not refuse as
            they did where their value was found; 1: once, as published.
        keys: of several askings of one edit, whether ROME, MEMIT and AlphaEdit solve for each one's key, or for the
            mean of those that name one subject.
        fact_token: where GRACE and WISE, which have no such key of EasyEdit's, look: at the subject's last token (or at
            the prompt's, for a request without a subject), or always at the prompt's last.
        value_steps, value_lr, value_clamp: how WISE finds the values that refuse, as ROME's v_num_grad_steps, v_lr and
            clamp_norm_factor.
        products: in which precision a float32 model multiplies while values are sought, and while it is trained;
            ``auto`` is bfloat16 where the machine has instructions for it. What is written is float32.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contexts: int = Field(default=2, ge=1, le=4)
    wordings: int = Field(default=0, ge=0, le=5)
    corpus: str | None = Field(default=None, min_length=1)
    corpus_tokens: int = Field(default=65_536, ge=1)
    retain_weight: float = Field(default=3.0, ge=0)
    hold_retain: float = Field(default=0.0, ge=0)
    null_space_dimensions: int | None = Field(default=None, ge=1)
    passes: int = Field(default=3, ge=1)
    keys: Literal["each", "mean"] = "each"
    fact_token: Literal["subject_last", "last"] = "subject_last"
    value_steps: int = Field(default=22, ge=1)
    value_lr: float = Field(default=0.5, gt=0)
    value_clamp: float = Field(default=3.0, gt=0)
    products: Literal["auto", "bfloat16", "float32"] = "auto"


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
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    device_map: str | None = None
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
        dtype: the precision a model is loaded in; "auto" is its checkpoint's. device_map: "auto" spreads it over all
            devices (accelerate).
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
    dtype: Literal["auto", "bfloat16", "float16", "float32"]
    device_map: str | None
    native: NativeOptions


def parse_settings(block: Any, plugins: Plugins, file: str) -> UnlearnSettings:
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


def _translated(
    error: ValidationError, file: str, prefix: str, model: type[BaseModel], given: Any, extra: str | None = None
) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    names = [*model.model_fields, *([extra] if extra else [])]
    problem = f"unknown key. {suggest(key, names)}" if first["type"] == "extra_forbidden" else first["msg"]
    return ConfigError(problem, file=file, key=f"{prefix}{key}", value=(given or {}).get(key))
