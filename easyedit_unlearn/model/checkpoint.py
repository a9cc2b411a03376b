"""An unlearned model as an ordinary checkpoint, and the names of what lies beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import TypeAdapter

from easyedit_unlearn.environment import quiet_transformers
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.storage import new_directory
from easyedit_unlearn.types import PreTrainedModel, PreTrainedTokenizerBase


def save_checkpoint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path, beside: Mapping[str, bytes] | None = None,
    about: Callable[[Path], Mapping[str, bytes]] | None = None,
) -> None:  # fmt: skip
    """An ordinary Hugging Face checkpoint (safetensors), written atomically, that transformers 4 and 5 both load.

    What acts beside the weights (GRACE, WISE) lies in a file of its own: ``load_adapters`` re-attaches it. ``beside``:
    further files, by name, that are there as soon as the checkpoint is. ``about``: the same, made of the folder once it
    holds all else.
    """
    from easyedit_unlearn.model.memory_files import save_adapters

    with new_directory(path) as folder, quiet_transformers():
        model.save_pretrained(folder, safe_serialization=True)
        save_adapters(model, folder)
        tokenizer.save_pretrained(folder)
        config = folder / "tokenizer_config.json"
        settings = json.loads(config.read_text(encoding="utf-8"))
        if settings.get("tokenizer_class") == "TokenizersBackend":  # transformers 5's name, which 4 rejects
            settings["tokenizer_class"] = "PreTrainedTokenizerFast"
            config.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
        for name, content in (beside or {}).items():
            (folder / name).write_bytes(content)
        for name, content in (about(folder) if about else {}).items():
            (folder / name).write_bytes(content)


KNOWLEDGE = "known_before_unlearning.json"
"""Beside a checkpoint: which facts the model knew before."""
SYSTEM_PROMPT = "system_prompt.txt"
"""Beside one whose method acts by its prompt: what must be said to the model before every question."""
BASE_RECORD = "unlearned_from.json"
"""Beside every one: the model it came from, and the method."""
RECORD = "unlearning.json"
"""Beside every one: what was done to it, and what came of it (``experiment.record``)."""
CARD = "README.md"
"""Beside every one: its model card."""
ADAPTER = "adapter"
"""A LoRA run's adapters, for PEFT."""


def hashed(key: str) -> str:
    """How a fact is named beside a checkpoint, by its key (``ForgetSample.key``): so that the files there do not tell
    what was to be forgotten. Who guesses the question can tell that it is this one."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def recorded_knowledge(model: Path) -> dict[str, bool] | None:
    """What ``run`` wrote beside a checkpoint, by keys or their hashes. Raises DataError when somebody else wrote
    something there."""
    path = model / KNOWLEDGE
    if not path.is_file():
        return None
    try:
        return TypeAdapter(dict[str, bool]).validate_json(path.read_bytes(), strict=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is not a record of known facts; delete it or name --reference") from error


def system_prompt_of(model: Path) -> str | None:
    """What must be said before every question, for a method that acts by its prompt."""
    said = model / SYSTEM_PROMPT
    return said.read_text(encoding="utf-8") if said.is_file() else None


def base_of(model: Path) -> str | None:
    """The model that a checkpoint came from, as it was named then; None where nothing says so."""
    try:
        found = json.loads((model / BASE_RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    base = found.get("base") if isinstance(found, dict) else None
    return base if isinstance(base, str) and base else None
