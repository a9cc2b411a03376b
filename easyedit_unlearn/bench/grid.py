"""BENCH.yaml, read strictly, as the list of cells it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from easyedit_unlearn.errors import ConfigError, suggest
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.resolve import read_hparams
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.tasks.splits import parse_source
from easyedit_unlearn.yamls import load_yaml

_OWN = ("unlearn.max_new_tokens", "unlearn.seed")
"""Keys that a block has names of its own for."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Strict):
    """A model, and what it is taught first, if anything (``TASK[:SPLIT]`` as for ``finetune --data``), with all its
    weights or with adapters of a ``rank``; ``learning_rate`` as for ``finetune``."""

    model: str
    label: str = ""
    finetune: tuple[str, ...] = ()
    rank: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-4, gt=0)


class Sets(_Strict):
    """As the command line names sets; ``{size}`` stands for how many facts are to be forgotten."""

    forget: str
    retain: str | None = None
    holdout: str | None = None
    also: dict[str, str] = {}


class Block(_Strict):
    """One product of lists. What a block leaves out is the file's ``defaults``, and then what stands here.

    ``growing``: one sequence of edits over the largest of ``sizes``, with a row after each of them.
    """

    models: tuple[ModelEntry, ...] = (ModelEntry(model="embedded", label="SmolLM2-135M-Instruct"),)
    sets: Sets = Sets(forget="facts:forget{size}", retain="facts:retain10", holdout="facts:holdout10")
    methods: tuple[str, ...] = Field(default=(), min_length=1)
    targets: tuple[dict[str, Any], ...] = ()
    mergers: tuple[dict[str, Any], ...] = ()
    sizes: tuple[int, ...] = (5,)
    growing: bool = False
    seeds: tuple[int, ...] = (0,)
    set: dict[str, Any] = {}
    attacks: bool = False
    depth: bool = False
    max_new_tokens: int = Field(default=48, ge=1)

    @field_validator("models", mode="before")
    @classmethod
    def _models(cls, value: Any) -> Any:
        return [{"model": one, "label": one} if isinstance(one, str) else one for one in value]

    @field_validator("targets", mode="before")
    @classmethod
    def _targets(cls, value: Any) -> Any:
        return [{"builder": one} if isinstance(one, str) else one for one in value]

    @field_validator("mergers", mode="before")
    @classmethod
    def _mergers(cls, value: Any) -> Any:
        return [{"merger": one} if isinstance(one, str) else one for one in value]


class Cell(_Strict):
    """One run: everything that is decided before it begins, as plain data. ``sizes``: those of a growing forget set."""

    model: str
    label: str
    finetune: tuple[str, ...] = ()
    rank: int = 0
    learning_rate: float = 1e-4
    sets: Sets
    template: str
    hparams: str
    overrides: dict[str, Any]
    size: int
    sizes: tuple[int, ...] = ()
    attacks: bool = False
    depth: bool = False

    @property
    def seed(self) -> int:
        return int(self.overrides["unlearn.seed"])

    @property
    def name(self) -> str:
        """For people: what tells this cell from its neighbours."""
        parts = [
            self.hparams,
            f"{' to '.join(map(str, (self.sizes or (self.size,))[:: len(self.sizes) - 1 or 1]))} facts",
        ]
        for key in ("unlearn.target", "unlearn.merge"):
            parts += [" ".join(map(str, self.overrides[key].values()))] if key in self.overrides else []
        parts += [f"seed {self.seed}"] if self.seed else []
        return ", ".join([*parts, self.label])

    @property
    def settings(self) -> str:
        """The hparams file, and what is given in place of what stands there."""
        given = [f"{key.removeprefix('unlearn.')}={value}" for key, value in self.overrides.items() if key not in _OWN]
        return ", ".join([self.hparams, *given])

    @property
    def family(self) -> str:
        """What rows over growing forget sets share."""
        how = f", LoRA {self.rank}" if self.rank else ""
        taught = f" (taught{how})" * bool(self.finetune)
        return f"{self.label}{taught}, {self.template}"

    def without_seed(self) -> str:
        """The same for cells that differ in nothing else."""
        overrides = {key: value for key, value in self.overrides.items() if key != "unlearn.seed"}
        return self.model_copy(update={"overrides": overrides}).model_dump_json()

    @property
    def setting(self) -> str:
        return self.setting_at(self.size)

    def setting_at(self, size: int) -> str:
        """What methods must share to be compared: model, sets and size."""
        return self.family.removesuffix(self.template) + sized(self.template, size)


def read_bench(path: Path, plugins: Plugins) -> tuple[str, list[Cell]]:
    """Title and cells of a file, each cell once.

    Raises:
        ConfigError: the file is not YAML, a key is unknown, or a cell's hparams do not parse; names the block.
        HostError: a method needs an EasyEdit that is not installed.
    """
    try:
        found = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"is not YAML: {' '.join(str(error).split())}", file=path) from None
    if not isinstance(found, dict) or not isinstance(found.get("blocks"), list) or not found["blocks"]:
        raise ConfigError("needs 'blocks:', a list of grids", file=path)
    for key in found:
        if key not in ("title", "defaults", "blocks"):
            raise ConfigError(f"unknown key. {suggest(str(key), ['title', 'defaults', 'blocks'])}", file=path, key=key)
    cells: dict[str, Cell] = {}
    for number, block in enumerate(found["blocks"]):
        where = f"blocks[{number}]."
        for cell in _cells(_block(found.get("defaults") or {}, block, path, where), plugins):
            _check(cell, plugins)
            cells.setdefault(cell.model_dump_json(), cell)
    return str(found.get("title") or path.stem), list(cells.values())


def _block(defaults: Any, block: Any, path: Path, where: str) -> Block:
    if not isinstance(defaults, Mapping) or not isinstance(block, Mapping):
        raise ConfigError("must be a mapping", file=path, key=where.rstrip("."))
    merged = {**defaults, **block}
    if isinstance(defaults.get("set"), Mapping) and isinstance(block.get("set"), Mapping):
        merged["set"] = {**defaults["set"], **block["set"]}
    for key, own in zip(_OWN, ("max_new_tokens", "seeds"), strict=True):
        if key in (merged.get("set") or {}):
            raise ConfigError(f"a block says this as '{own}:'", file=path, key=f"{where}set.{key}")
    try:
        return Block.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        hint = suggest(key, list(Block.model_fields)) if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"{first['msg']}. {hint}".strip(), file=path, key=where + key) from None


def _cells(block: Block, plugins: Plugins) -> Iterator[Cell]:
    """The product, without what does not concern a method: refusals are nothing to one that trains on none."""
    sizes = [max(block.sizes)] if block.growing else block.sizes
    for entry, hparams, size in product(block.models, block.methods, sizes):
        base = read_hparams(hparams, plugins, block.set)
        targets = block.targets if base.method.uses_targets else ()
        for target, merger, seed in product(_or_own(targets), _or_own(block.mergers), block.seeds):
            overrides = {**block.set, _OWN[0]: block.max_new_tokens, _OWN[1]: seed}
            overrides |= {"unlearn.target": target} if target else {}
            overrides |= {"unlearn.merge": merger} if merger else {}
            sets = block.sets.model_copy(update={"forget": sized(block.sets.forget, size)})
            yield Cell(
                model=entry.model, label=entry.label or entry.model, finetune=entry.finetune, rank=entry.rank,
                learning_rate=entry.learning_rate, sets=sets,
                template=block.sets.forget, hparams=hparams, overrides=overrides, size=size,
                sizes=tuple(sorted(block.sizes)) if block.growing else (),
                attacks=block.attacks, depth=block.depth,
            )  # fmt: skip


def _or_own(choices: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any] | None]:
    """Where nothing is listed, what the hparams file says."""
    return choices or (None,)


def sized(text: str, size: int) -> str:
    return text.replace("{size}", str(size))


def _check(cell: Cell, plugins: Plugins) -> None:
    """What cannot work is told before anything costly runs."""
    read_hparams(cell.hparams, plugins, cell.overrides)
    sets = cell.sets
    EvalConfig(sets.forget, sets.retain, sets.holdout, sets.also).sources(plugins)
    for text in cell.finetune:
        parse_source(text, plugins.tasks)
