"""Find EasyEdit without importing it: a clone (``EASYEDIT_HOME`` or importable) or the release of 2023."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

from easyedit_unlearn.errors import HostError

PACKAGE = "easyeditor"
HOME_VARIABLE = "EASYEDIT_HOME"
INSTALL_RELEASE = 'pip install --no-deps easyeditor==0.0.1.dev0 && pip install "requests>=2"'
GET_MAIN = "git clone https://github.com/zjunlp/EasyEdit && export EASYEDIT_HOME=$PWD/EasyEdit"


@dataclass(frozen=True)
class HostInfo:
    """Which EasyEdit there is. ``kind`` is decided by what it contains, not by what it calls itself."""

    kind: Literal["main", "release"]
    version: str
    path: Path

    def __str__(self) -> str:
        return f"{self.kind} {self.version}"


def find_host() -> HostInfo | None:
    """The EasyEdit that ``import easyeditor`` would give, or None.

    Raises:
        HostError: ``EASYEDIT_HOME`` is set but holds no EasyEdit.
    """
    loaded = sys.modules.get(PACKAGE)
    if loaded is not None and loaded.__file__:
        return _info(Path(loaded.__file__).parent)
    home = clone_path()
    if home is not None:
        return _info(home / PACKAGE)
    spec = PathFinder.find_spec(PACKAGE)
    return _info(Path(spec.origin).parent) if spec and spec.origin else None


def require_host() -> HostInfo:
    """Raises HostError with both ways to get EasyEdit."""
    info = find_host()
    if info is None:
        raise HostError(
            f"EasyEdit (the package {PACKAGE}) was not found. Either install its release: {INSTALL_RELEASE} "
            f"or use its main branch: {GET_MAIN}"
        )
    return info


def clone_path() -> Path | None:
    """The directory named by ``EASYEDIT_HOME``."""
    named = os.environ.get(HOME_VARIABLE)
    if not named:
        return None
    home = Path(named).expanduser()
    if not (home / PACKAGE / "__init__.py").is_file():
        raise HostError(f"{HOME_VARIABLE}={named} holds no {PACKAGE}/__init__.py; point it at a clone: {GET_MAIN}")
    return home


def _info(package: Path) -> HostInfo:
    if (package / "models" / "alphaedit").is_dir():
        return HostInfo("main", _commit(package.parent) or "without git", package)
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return HostInfo("release", version, package)


def _commit(clone: Path) -> str:
    """The short commit of a clone, read from its files: no git program is run in somebody's directory."""
    git = clone / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head[:8]
        ref = head.removeprefix("ref: ")
        if (git / ref).is_file():
            return (git / ref).read_text(encoding="ascii").strip()[:8]
        packed = (git / "packed-refs").read_text(encoding="ascii").splitlines()
        return next((line.split()[0][:8] for line in packed if line.endswith(f" {ref}")), "")
    except (OSError, UnicodeDecodeError):
        return ""
