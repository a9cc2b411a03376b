"""What ``doctor`` finds: versions, the host, where each method comes from, and what is missing."""

from __future__ import annotations

import importlib.util
from typing import Any

from easyedit_unlearn.builtins import EASYEDIT, host_editors
from easyedit_unlearn.errors import HostError
from easyedit_unlearn.host.find import GET_MAIN, INSTALL_RELEASE, find_host
from easyedit_unlearn.model.embedded import EMBEDDED, MODELS
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.versions import versions

# EasyEdit's own faults that this version of the plugin does not mend, so that nobody looks for them elsewhere.
_TROUBLE = {("release", "MEMIT"): "does not run under transformers 5"}


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
            algorithms = set(host_editors().names)
        else:
            missing.append({"what": "EasyEdit, the host of all editing", "command": INSTALL_RELEASE})
            missing.append({"what": "or EasyEdit's main branch, with all editors", "command": GET_MAIN})
    except HostError as error:
        missing.append({"what": str(error), "command": GET_MAIN})
    optional: list[dict[str, str]] = []
    for name, model in MODELS.items():
        where = missing if name == EMBEDDED else optional
        if model.files() is None:
            where.append({"what": f"{name}, {model.label.removesuffix(' (embedded)')}", "command": model.install})
        elif importlib.util.find_spec("gguf") is None:
            where.append({"what": f"gguf, to read {name}", "command": model.install})
    missing += [
        {
            "what": f"plugin {info.name}: {info.error}",
            "command": f"pip install --upgrade {info.distribution or info.name}",
        }
        for info in plugins.broken
    ]
    names = sorted({*plugins.methods.names, *EASYEDIT, *algorithms}, key=str.casefold)
    methods = [{"name": name, "source": _source(name, plugins, algorithms, host)} for name in names]
    return {
        "versions": versions(), "device": _device(), "host": host, "methods": methods, "missing": missing,
        "optional": optional,
    }  # fmt: skip


def _source(name: str, plugins: Plugins, algorithms: set[str], host: dict[str, str] | None) -> str:
    registered = name in plugins.methods
    ours = "easyedit-unlearn"
    if registered and (owner := plugins.methods.owner(name)) != "builtin":
        ours = f"plugin {owner}"
    if host and name in algorithms and (not registered or plugins.methods.get(name).host_first):
        notes = [_TROUBLE.get((host["kind"], name)), f"{ours} with unlearn.engine: native" if registered else None]
        said = "; ".join(note for note in notes if note)
        return f"EasyEdit {host['kind']} {host['version']}{f' ({said})' if said else ''}"
    if registered:
        other = host and name in algorithms and f" (EasyEdit {host['kind']} with unlearn.engine: host)"
        return f"{ours}{other or ''}"
    return "missing: needs EasyEdit's main branch" if host else "missing: needs EasyEdit"


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    return f"cuda ({torch.cuda.get_device_name(0)})" if torch.cuda.is_available() else "cpu"
