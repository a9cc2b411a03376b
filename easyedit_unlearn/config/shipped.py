"""The shipped hparams files, and how a name becomes a path."""

from __future__ import annotations

from pathlib import Path

from easyedit_unlearn.errors import ConfigError, suggest


def shipped_hparams() -> Path:
    """The folder of shipped YAML files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
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
