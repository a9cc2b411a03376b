"""Hparams of a method for a model: the shipped file that was made for it, else one derived from the model itself.

Derived files carry over a reference file, which was tuned: layers by relative depth, module names by structure, and
what stands in absolute units (steps, radii, margins) by the size of the model's own numbers there.
"""

from __future__ import annotations

import dataclasses
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from easyedit_unlearn.config.carry import REFERENCE, REFERENCES, Change, Derivation
from easyedit_unlearn.config.engine import unknown_method
from easyedit_unlearn.config.shipped import shipped_hparams
from easyedit_unlearn.errors import ConfigError, in_one_line
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.storage import cache_dir, write_text

ARCHITECTURES = {
    ("llama", 576, 30): "smollm2-135m",
    ("gpt2", 1600, 48): "gpt2-xl",
    ("gptj", 4096, 28): "gpt-j-6b",
    ("llama", 4096, 32): "llama2-7b",
    ("llama", 2048, 16): "llama3.2-1b",
    ("llama", 3072, 28): "llama3.2-3b",
    ("mistral", 4096, 32): "mistral-7b",
    ("qwen2", 3584, 28): "qwen2.5-7b",
    ("qwen2", 1536, 28): "qwen2.5-coder-1.5b",
}
"""(model type, hidden size, layers) of the models that hparams are shipped for."""


def reference_file(method: str, plugins: Plugins) -> Path:
    """The tuned file that others are derived from; for a plugin's method, one of its defaults.

    Raises:
        ConfigError: no such method; says which was probably meant.
    """
    if method not in plugins.methods:
        raise unknown_method(method, plugins)
    file = shipped_hparams() / method / f"{REFERENCE}.yaml"
    if file.is_file():
        return file
    path = cache_dir() / "hparams" / method / "defaults.yaml"
    write_text(path, _bare(method, plugins))
    return path


def shipped_name(method: str, model: Any) -> str | None:
    """The shipped file that was made for a model of this architecture, told by its config."""
    config = model.config
    shape: Any = (config.model_type, getattr(config, "hidden_size", None), getattr(config, "num_hidden_layers", None))
    name = "llama3-8b" if shape == ("llama", 4096, 32) and config.vocab_size > 1e5 else ARCHITECTURES.get(shape)
    return f"{method}/{name}" if name and (shipped_hparams() / method / f"{name}.yaml").is_file() else None


def hparams_name(method: str, model: Any, tokenizer: Any, plugins: Plugins) -> str:
    """A shipped file by name, or a derived one by its path in the cache.

    Raises:
        ConfigError: no such method, or one that cannot act on a model of this kind.
    """
    reference = reference_file(method, plugins)
    found = shipped_name(method, model)
    if found is not None:
        return found
    if reference.stem != REFERENCE:
        return str(reference)
    path = cache_dir() / "hparams" / method / f"{_slug(model)}.yaml"
    with in_one_line(f"no hparams of {method} can be derived from {type(model).__name__}"):
        write_text(path, derived(method, model, tokenizer, plugins))
    return str(path)


def derived(method: str, model: Any, tokenizer: Any, plugins: Plugins, label: str = "") -> str:
    """The YAML file, with a comment for each value that was derived; a plugin's method has its defaults. ``label``:
    what to call the model."""
    name, reference, file = REFERENCE, REFERENCES[REFERENCE], reference_file(method, plugins)
    text = file.read_text(encoding="utf-8")
    if file.stem != REFERENCE:
        return text
    values = yaml.safe_load(text)
    made = Derivation(model, tokenizer, reference, values, plugins.methods.get(method))
    changes = made.changes()
    label = label or str(getattr(model, "name_or_path", "") or type(model).__name__)
    changes["model_name"] = Change(label, "")
    head = [
        f"# {method} on {label} ({type(model).__name__}, {made.depth} layers), derived from {method}/{name}.yaml.",
        "# Nothing in this file was measured on this model: `easyedit-unlearn tune` does that.",
    ]
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    lines = ["  prompt: auto" if line.startswith("  prompt: ") else line for line in lines]  # a base model has no chat
    if plugins.methods.get(method).host_first and "engine" not in (values.get("unlearn") or {}):
        # only what is ours is measured for its attainment
        block = next(number for number, line in enumerate(lines) if line.startswith("unlearn:"))
        lines.insert(block + 1, "  engine: native")
    return "\n".join([*head, *_rewritten(lines, changes), ""])


def _bare(method: str, plugins: Plugins) -> str:
    """For a method that no file is shipped for: its own defaults."""
    needed = [
        field.name
        for field in dataclasses.fields(plugins.methods.get(method).hparams_class())
        if field.init and field.default is field.default_factory is dataclasses.MISSING
    ]
    more = [name for name in needed if name not in ("alg_name", "model_name")]
    if more:
        raise ConfigError(f"{method} has no defaults for {', '.join(more)}: give a file of hparams", key="hparams")
    return f"# The defaults of {method}.\nalg_name: {method}\nmodel_name: auto\n\nunlearn: {{}}\n"


def _slug(model: Any) -> str:
    told = f"{getattr(model, 'name_or_path', '')}/{model.config.to_json_string()}/{model.dtype}"
    label = re.sub(r"[^\w.-]+", "-", str(getattr(model, "name_or_path", "")).rstrip("/").rpartition("/")[2])[:40]
    return f"{label or model.config.model_type}-{sha256(told.encode()).hexdigest()[:12]}"


def _rewritten(lines: list[str], changes: dict[str, Change]) -> list[str]:
    """The reference file's lines with other values; comments of lines that change go."""
    left = dict(changes)
    found: list[str] = []
    skip = False
    for line in lines:
        if skip and line.startswith("- "):
            continue
        skip = False
        key = re.match(r"([\w]+):", line)
        if key and key.group(1) in left:
            change = left.pop(key.group(1))
            found.append(
                f"{key.group(1)}: {_yaml(change.value)}   # {': '.join(filter(None, ['derived', change.why]))}"
            )
            skip = not line.partition(":")[2].partition("#")[0].strip()
        elif "native:" in line and (deep := {k: c for k, c in left.items() if k.startswith("unlearn.native.")}):
            found.append(_with_native(line, deep))
            found += [f"  # {name.rpartition('.')[2]}: derived: {change.why}" for name, change in deep.items()]
            left = {k: c for k, c in left.items() if k not in deep}
        else:
            found.append(line)
    assert not left, left  # noqa: S101  every derived key stands in the reference
    return found


def _with_native(line: str, deep: dict[str, Change]) -> str:
    given = yaml.safe_load(line)["native"] | {key.rpartition(".")[2]: change.value for key, change in deep.items()}
    return f"  native: {_yaml(given)}"


def _yaml(value: Any) -> str:
    """On one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.strip().removesuffix("...").strip()
