"""An unlearned model as a checkpoint, with what must be known of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from easyedit_unlearn.models import save_checkpoint
from easyedit_unlearn.storage import json_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from easyedit_unlearn.pipeline import Run

KNOWLEDGE = "known_before_unlearning.json"
"""Beside a checkpoint: which facts the model knew before."""
SYSTEM_PROMPT = "system_prompt.txt"
"""Beside one whose method acts by its prompt: what must be said to the model before every question."""
BASE_RECORD = "unlearned_from.json"
"""Beside every one: the model it came from, and the method."""
ADAPTER = "adapter"
"""A LoRA run's adapters, for PEFT."""


def save_unlearned(run: Run, model: PreTrainedModel, folder: Path) -> None:
    """The last method's model, what the model before knew, and the prompt that it acts by, if any."""
    method = run.results.rows[-1]["label"] if run.results.rows else None
    texts = {
        KNOWLEDGE: json_text(run.knowledge()),
        BASE_RECORD: json_text({"base": str(run.model.name_or_path), "method": method}),
        **({} if run.system_prompt is None else {SYSTEM_PROMPT: run.system_prompt}),
    }
    save_checkpoint(model, run.tokenizer, folder, {name: text.encode("utf-8") for name, text in texts.items()})
