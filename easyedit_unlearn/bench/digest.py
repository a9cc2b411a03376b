"""What decides a cell's outcome, as one hash: the name of its file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from easyedit_unlearn.bench.grid import Cell
from easyedit_unlearn.config.derive import reference_file
from easyedit_unlearn.config.shipped import resolve_path, shipped_hparams
from easyedit_unlearn.experiment.resolve import is_file, read_hparams
from easyedit_unlearn.host.find import find_host
from easyedit_unlearn.model.device import multiplies_bfloat16
from easyedit_unlearn.model.embedded import embedded_path, is_embedded
from easyedit_unlearn.model.load import placement
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.storage import sha256_of
from easyedit_unlearn.tasks.data import data_dir
from easyedit_unlearn.tasks.splits import load, parse_source
from easyedit_unlearn.versions import versions
from easyedit_unlearn.yamls import load_yaml

_WEIGHTS = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model", "*.jinja")


def cell_key(cell: Cell, plugins: Plugins) -> str:
    """Of the cell itself, its hparams file, every file that those name, every sample of its sets, the model's files,
    the corpus, EasyEdit, the plugins, the packages' versions, this package's code, and the device.

    Raises:
        DataError: a set cannot be read.
    """
    texts = (cell.sets.forget, cell.sets.retain, cell.sets.holdout, *cell.sets.also.values(), *cell.finetune)
    hparams = read_hparams(cell.hparams, plugins, cell.overrides)
    own = hparams.unlearn.retain if cell.sets.retain is None else None
    files = _hparams_files(cell.hparams, plugins)
    parts = [
        cell.model_dump_json(),
        *(file.read_text(encoding="utf-8") for file in files),
        _named_files([*(load_yaml(file.read_text(encoding="utf-8")) for file in files), cell.overrides]),
        _digest(repr(load(own))) if own else "",
        [[info.name, info.version] for info in plugins.infos],
        placement(None)["device"],
        multiplies_bfloat16(placement(None)["device"]),
        [_samples(text, plugins) for text in texts if text],
        _model(cell.model),
        str(find_host()),
        versions(),
        package_code(),
        _corpus(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def _hparams_files(named: str, plugins: Plugins) -> list[Path]:
    """The file; of a method alone, all that its settings may come from, for the model is not loaded yet."""
    if is_file(named):
        return [resolve_path(named)]
    return sorted({reference_file(named, plugins), *(shipped_hparams() / named).glob("*.yaml")})


def model_key(cell: Cell, plugins: Plugins) -> str:
    """Of the model a cell begins with and what it is taught first."""
    taught = [_samples(text, plugins) for text in cell.finetune]
    how = [list(cell.finetune), cell.rank, cell.learning_rate]
    parts = [_model(cell.model), how, taught, versions(), package_code()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


@cache
def package_code() -> str:
    """Of every module of this package: a developer changes it without a new version."""
    root = Path(__file__).parents[1]
    files = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".jsonl", ".yaml", ".txt"))
    return _of_files(root, files)


def _named_files(value: Any) -> list[str]:
    """Of every file that a setting names, its content."""
    if isinstance(value, Mapping):
        return [found for one in value.values() for found in _named_files(one)]
    if isinstance(value, list | tuple):
        return [found for one in value for found in _named_files(one)]
    path = Path(value).expanduser() if isinstance(value, str) and 0 < len(value) < 4096 and "\0" not in value else None
    try:
        return [_of_files(path.parent, [path])] if path is not None and path.is_file() else []
    except OSError:  # a text too long to be a name
        return []


def _samples(text: str, plugins: Plugins) -> str:
    return _digest(repr(load(parse_source(text, plugins.tasks))))


@cache
def _model(name: str) -> str:
    """A folder's files; a Hub name stands for itself."""
    path = embedded_path(name) if is_embedded(name) else Path(name)
    if not path.is_dir():
        return name
    return _of_files(path, sorted({file for pattern in _WEIGHTS for file in path.glob(pattern)}))


@cache
def _corpus() -> str:
    from easyedit_unlearn.editors.corpus import DEFAULT

    path = (data_dir() or Path()) / DEFAULT
    return _of_files(path.parent, [path]) if path.is_file() else ""


def _of_files(root: Path, files: list[Path]) -> str:
    return _digest(repr([(str(file.relative_to(root)), sha256_of(file)) for file in files]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
