"""``export``, ``apply`` and ``revert``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from easyedit_unlearn.artefacts import delta
from easyedit_unlearn.artefacts.tensors import Checkpoint
from easyedit_unlearn.errors import ConfigError, DataError
from easyedit_unlearn.model.checkpoint import BASE_RECORD, CARD, KNOWLEDGE, RECORD, SYSTEM_PROMPT, save_checkpoint
from easyedit_unlearn.model.embedded import embedded_path, is_embedded
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.storage import check_output, new_directory, strangers

KINDS = ("delta", "lora", "full")


def export(source: Path, kind: str, out: Path, *, base: str | None = None, overwrite: bool = False) -> str:
    """``source`` (a checkpoint of an unlearned model, or a delta) as a delta, a LoRA adapter or a whole checkpoint.

    Args:
        base: the model before, a folder or ``embedded``; by default what the checkpoint's record names.

    Returns:
        A line that says what was written.

    Raises:
        ConfigError: no such kind, or no base is known. DataError, UnlearnError: it cannot be exported so.
    """
    if kind not in KINDS:
        raise ConfigError(f"not a kind of export; allowed: {', '.join(KINDS)}", key="--as", value=kind)
    check_output(out, overwrite=overwrite, inputs=[source, *([base] if base else [])])
    if kind == "full":
        return _full(source, out, base)
    if delta.is_delta(source):
        raise DataError(f"{source} is a delta; export --as full, with --base, makes a checkpoint of it first")
    start = _base(source, base)
    check_output(out, overwrite=overwrite, inputs=[start])
    if kind == "delta":
        delta.save_delta(start, source, out)
        size = sum(file.stat().st_size for file in out.iterdir())
        return f"{out}: {size / 1e6:.1f} MB; apply and revert it with easyedit-unlearn apply|revert {out} CHECKPOINT"
    from easyedit_unlearn.artefacts.lora import export_lora
    from easyedit_unlearn.model.inference import plain_text

    edited, tokenizer = load_model(str(source))
    rank, difference = export_lora(load_model(str(start))[0], edited, tokenizer, plain_text(), out)
    return f"{out}: rank {rank} at most; in PEFT its logits differ from the edited model's by {difference:.1e} at most"


def put_on(made: Path, checkpoint: Path, out: Path | None, *, undo: bool = False, overwrite: bool = False) -> str:
    """Apply or revert a delta, in place, or on a copy at ``out``. Raises as ``delta.apply`` and ``delta.revert``."""
    flip = delta.revert if undo else delta.apply

    def act(made: Path, folder: Path) -> None:
        flip(made, folder)
        _drop_stale_record(folder)

    if out is None:
        act(made, checkpoint)
    else:
        check_output(out, overwrite=overwrite, inputs=[made, checkpoint])
        with new_directory(out) as filling:
            shutil.copytree(checkpoint, filling, dirs_exist_ok=True)
            act(made, filling)
    return f"{out or checkpoint}: {'is the model before' if undo else 'is the unlearned model'}"


def _drop_stale_record(folder: Path) -> None:
    """The record and the card of other weights than those that lie there now would be lies."""
    try:
        record: Any = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        recorded = record["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    if recorded != Checkpoint(folder).fingerprint():
        unknown = strangers(folder)
        for name in (RECORD, CARD):
            if name not in unknown:
                (folder / name).unlink(missing_ok=True)


def _full(source: Path, out: Path, base: str | None) -> str:
    if delta.is_delta(source):
        if base is None:
            raise ConfigError("a delta needs the model it was made on", key="--base")
        return put_on(source, _folder(base), out, overwrite=True)
    names = [name for name in (SYSTEM_PROMPT, KNOWLEDGE, BASE_RECORD, RECORD, CARD) if (source / name).is_file()]
    save_checkpoint(*load_model(str(source)), out, {name: (source / name).read_bytes() for name in names})
    return f"{out}: a whole checkpoint"


def _base(source: Path, named: str | None) -> Path:
    if named is not None:
        return _folder(named)
    try:
        record: Any = json.loads((source / BASE_RECORD).read_text(encoding="utf-8"))
        return _folder(str(record["base"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{source} does not say which model it came from; name it", key="--base") from None


def _folder(name: str) -> Path:
    path = embedded_path(name) if is_embedded(name) else Path(name)
    if not path.is_dir():
        raise DataError(f"{name}: no such folder; a model of the Hub must be there as a folder (its snapshot)")
    return path
