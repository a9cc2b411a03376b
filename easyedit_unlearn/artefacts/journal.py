"""What is being done to a checkpoint's files, noted beside them until it is done: a killed command can be finished by
the same command, or taken back by its opposite."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.storage import JOURNAL, sha256_of, write_json

Command = Literal["apply", "revert"]


@dataclass(frozen=True)
class Journal:
    """An apply or revert that was begun: of which delta (fingerprints of the model before and after), and of each file
    that it replaces the SHA-256 of what was there and of what takes its place."""

    command: Command
    base: str
    edited: str
    files: Mapping[str, tuple[str, str]]

    def write(self, folder: Path) -> None:
        write_json(folder / JOURNAL, asdict(self))

    def is_of(self, header: Mapping[str, Any]) -> bool:
        return (self.base, self.edited) == (header["base"], header["edited"])

    def left(self, folder: Path, command: Command) -> list[str]:
        """The files that are not yet as ``command`` leaves them.

        Raises:
            DataError: a file is neither what was there nor what takes its place.
        """
        found = []
        for name, states in self.files.items():
            now = sha256_of(folder / name) if (folder / name).is_file() else ""
            if now not in states:
                raise DataError(f"{folder / name} was changed after an interrupted {self.command}; take it from a copy")
            wanted = states[1] if command == self.command else states[0]
            if now != wanted:
                found.append(name)
        return found


def standing(folder: Path) -> Journal | None:
    """What was begun and not ended in a folder. Raises DataError for a journal that is not ours."""
    path = folder / JOURNAL
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        files = {str(name): (str(old), str(new)) for name, (old, new) in found["files"].items()}
        if found["command"] not in ("apply", "revert") or any(Path(name).name != name for name in files):
            raise ValueError("it holds what no journal holds")
        return Journal(found["command"], str(found["base"]), str(found["edited"]), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: is no journal of this package: {error}") from None


def begun(folder: Path, command: Command, header: Mapping[str, Any], contents: Mapping[Path, bytes]) -> None:
    """Note what is about to be done."""
    files = {path.name: (sha256_of(path), hashlib.sha256(content).hexdigest()) for path, content in contents.items()}
    Journal(command, header["base"], header["edited"], files).write(folder)


def ended(folder: Path) -> None:
    """It is done; what a killed command left half written goes too."""
    journal = standing(folder)
    for name in journal.files if journal else ():
        for path in folder.iterdir():
            if re.fullmatch(rf"\.{re.escape(name)}\.\d+", path.name):
                with suppress(OSError):
                    path.unlink()
    with suppress(FileNotFoundError):
        (folder / JOURNAL).unlink()
