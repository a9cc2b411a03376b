"""The tensors of a checkpoint folder, read and replaced file by file: no model is built for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.model.weights import add_tensor
from easyedit_unlearn.storage import ADAPTER_FILE

if TYPE_CHECKING:
    from torch import Tensor

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"


def tensors_digest(path: Path) -> str:
    """SHA-256 over a safetensors file's tensors and what it says of them, however they are ordered in it.

    Raises:
        DataError: it is none.
    """
    whole = hashlib.sha256()
    try:
        with safe_open(path, framework="pt") as opened:
            whole.update(json.dumps(opened.metadata() or {}, sort_keys=True).encode())
            for name in sorted(opened.keys()):
                add_tensor(whole, name, opened.get_tensor(name))
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path}: is no safetensors file: {error}") from None
    return whole.hexdigest()


class Checkpoint:
    """A folder with ``model.safetensors``, or its shards and their index.

    Raises:
        DataError: there are none, or the index leads out of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Path] = {}
        try:
            for file in self._shards():
                with safe_open(file, framework="pt") as opened:
                    self._files |= dict.fromkeys(opened.keys(), file)
        except (OSError, SafetensorError, ValueError) as error:
            raise DataError(f"{folder}: is not a checkpoint of safetensors: {error}") from None

    @property
    def names(self) -> list[str]:
        return sorted(self._files)

    def tensor(self, name: str) -> Tensor:
        with safe_open(self._files[name], framework="pt") as opened:
            return opened.get_tensor(name)  # type: ignore[no-any-return]

    def fingerprint(self, changed: Mapping[str, Tensor] | None = None) -> str:
        """SHA-256 over every tensor's name, type, shape and bytes, whatever file it is in; ``changed`` stand in for
        theirs."""
        whole = hashlib.sha256()
        for name in self.names:
            tensor = (changed or {}).get(name)
            add_tensor(whole, name, self.tensor(name) if tensor is None else tensor)
        return whole.hexdigest()

    def files_with(self, changed: Mapping[str, Tensor]) -> dict[Path, bytes]:
        """What the files that hold ``changed`` are to hold."""
        contents: dict[Path, bytes] = {}
        for file in {self._files[name] for name in changed}:
            with safe_open(file, framework="pt") as opened:
                tensors = {name: changed.get(name, opened.get_tensor(name)) for name in opened.keys()}  # noqa: SIM118
                contents[file] = save(tensors, metadata=opened.metadata())
        return contents

    def only(self, changed: Mapping[str, Tensor], files: Sequence[str]) -> dict[str, Tensor]:
        """Of ``changed`` what lies in these files."""
        return {name: tensor for name, tensor in changed.items() if self._files[name].name in files}

    def _shards(self) -> list[Path]:
        single, index = self.folder / _SINGLE, self.folder / _INDEX
        if single.is_file() or not index.is_file():
            return [single]
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if any(not isinstance(name, str) or Path(name).name != name or name == ADAPTER_FILE for name in names):
            raise ValueError(f"{_INDEX} names a file outside the folder")
        return [self.folder / name for name in sorted(names)]
