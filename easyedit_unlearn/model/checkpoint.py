"""An unlearned model as an ordinary checkpoint, and the names of what lies beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from easyedit_unlearn.environment import quiet_transformers
from easyedit_unlearn.storage import new_directory
from easyedit_unlearn.types import PreTrainedModel, PreTrainedTokenizerBase


def save_checkpoint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path, beside: Mapping[str, bytes] | None = None
) -> None:
    """An ordinary Hugging Face checkpoint (safetensors), written atomically, that transformers 4 and 5 both load.

    What acts beside the weights (GRACE, WISE) lies in a file of its own: ``load_adapters`` re-attaches it. ``beside``:
    further files, by name, that are there as soon as the checkpoint is.
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


KNOWLEDGE = "known_before_unlearning.json"
"""Beside a checkpoint: which facts the model knew before."""
SYSTEM_PROMPT = "system_prompt.txt"
"""Beside one whose method acts by its prompt: what must be said to the model before every question."""
BASE_RECORD = "unlearned_from.json"
"""Beside every one: the model it came from, and the method."""
ADAPTER = "adapter"
"""A LoRA run's adapters, for PEFT."""
