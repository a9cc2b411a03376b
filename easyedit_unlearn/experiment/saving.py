"""An unlearned model as a checkpoint, with what must be known of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from easyedit_unlearn.experiment.record import record_of
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.checkpoint import (
    BASE_RECORD,
    CARD,
    KNOWLEDGE,
    RECORD,
    SYSTEM_PROMPT,
    hashed,
    save_checkpoint,
)
from easyedit_unlearn.report.card import model_card
from easyedit_unlearn.storage import ADAPTER_FILE, json_text
from easyedit_unlearn.types import PreTrainedModel


def save_unlearned(run: Run, model: PreTrainedModel, folder: Path, *, clear: bool = False) -> None:
    """The last method's model, with a card, a record of what was done, what the model before knew, and the prompt that
    it acts by, if any. ``clear``: the record holds the forget set's questions, not their hashes."""
    label = run.results.rows[-1]["label"] if run.results.rows else None
    known = run.knowledge.known
    texts = {
        KNOWLEDGE: json_text(known if clear else {hashed(key): value for key, value in known.items()}),
        BASE_RECORD: json_text({"base": str(run.model.name_or_path), "method": label}),
        **({} if run.system_prompt is None else {SYSTEM_PROMPT: run.system_prompt}),
    }
    save_checkpoint(
        model, run.tokenizer, folder, {name: text.encode() for name, text in texts.items()},
        partial(_about, run, clear) if run.results.rows else None,
    )  # fmt: skip


def _about(run: Run, clear: bool, folder: Path) -> dict[str, bytes]:
    acts_by = "memory" if (folder / ADAPTER_FILE).is_file() else "weights" if run.system_prompt is None else "prompt"
    record = record_of(run, folder, clear=clear)
    card = model_card(run.results, run.plugins.metrics, base=run.label, acts_by=acts_by)
    return {RECORD: json_text(record.model_dump(mode="json")).encode(), CARD: card.encode()}
