"""An unlearned model as a checkpoint, with what must be known of it."""

from __future__ import annotations

from pathlib import Path

from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.checkpoint import BASE_RECORD, KNOWLEDGE, SYSTEM_PROMPT, save_checkpoint
from easyedit_unlearn.storage import json_text
from easyedit_unlearn.types import PreTrainedModel


def save_unlearned(run: Run, model: PreTrainedModel, folder: Path) -> None:
    """The last method's model, what the model before knew, and the prompt that it acts by, if any."""
    method = run.results.rows[-1]["label"] if run.results.rows else None
    texts = {
        KNOWLEDGE: json_text(run.knowledge.known),
        BASE_RECORD: json_text({"base": str(run.model.name_or_path), "method": method}),
        **({} if run.system_prompt is None else {SYSTEM_PROMPT: run.system_prompt}),
    }
    save_checkpoint(model, run.tokenizer, folder, {name: text.encode("utf-8") for name, text in texts.items()})
