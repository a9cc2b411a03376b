"""Versions of Python and of the packages that decide a result."""

from __future__ import annotations

import importlib.util
import platform
from functools import cache

_PACKAGES = ("easyedit-unlearn", "torch", "transformers", "tokenizers", "accelerate", "peft", "numpy", "scipy")


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    return dict(_versions())
