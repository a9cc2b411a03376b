"""An edit as a delta: of every changed tensor the bits that differ, so that it can be put on and taken off exactly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from easyedit_unlearn.artefacts.journal import Command, Journal, begun, ended, standing
from easyedit_unlearn.artefacts.tensors import Checkpoint
from easyedit_unlearn.errors import DataError, UnlearnError
from easyedit_unlearn.model.checkpoint import SYSTEM_PROMPT
from easyedit_unlearn.model.weights import raw
from easyedit_unlearn.storage import ADAPTER_FILE, new_directory, replace_file, replace_files, sha256_of

if TYPE_CHECKING:
    from torch import Tensor

FILE = "delta.safetensors"
BESIDE = (ADAPTER_FILE, SYSTEM_PROMPT)
"""Files that belong to an edit and act beside the weights."""


def save_delta(base: Path, edited: Path, out: Path) -> None:
    """Write ``delta.safetensors``: by tensor name the bits in which it differs, as bytes, and in its metadata the
    fingerprints of both checkpoints; and the files that act beside the weights.

    Raises:
        DataError: they are not two states of one model, or nothing differs.
    """
    for folder in (base, edited):
        if standing(folder) is not None:
            raise DataError(f"{folder}: an apply or revert was interrupted here; run it again, or its opposite, first")
    first, second = Checkpoint(base), Checkpoint(edited)
    if first.names != second.names:
        raise DataError(
            f"{base} and {edited} have tensors of other names: they are not two states of one model, or the first was "
            "not saved by transformers; load it and save it once (export --as full), and name that as the base"
        )
    changed: dict[str, Tensor] = {}
    for name in first.names:
        old, new = first.tensor(name), second.tensor(name)
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise DataError(
                f"{name}: {old.dtype} {tuple(old.shape)} before, {new.dtype} {tuple(new.shape)} after; save the base "
                "in the edited model's precision first, and name that as the base"
            )
        bits = raw(old) ^ raw(new)
        if bits.any():
            changed[name] = bits
    beside = {name: sha256_of(edited / name) for name in BESIDE if (edited / name).is_file()}
    if not changed and not beside:
        raise DataError(f"{base} and {edited} are the same: there is no edit to export")
    header = {"base": first.fingerprint(), "edited": second.fingerprint(), "beside": beside}
    with new_directory(out) as filling:
        save_file(changed, filling / FILE, metadata={"easyedit_unlearn": json.dumps(header), "format": "pt"})
        for name in beside:
            shutil.copy(edited / name, filling / name)


def apply(delta: Path, checkpoint: Path) -> None:
    """Make ``checkpoint`` the edited model, in place. Killed on the way, the same command finishes it, and ``revert``
    takes it back.

    Raises:
        DataError: it is not the model that the delta was made on; it is untouched then. UnlearnError: another edit's
            memory lies beside it.
    """
    bits, header = _read(delta)
    resumed = _begun_before(checkpoint, header)
    there = [name for name in BESIDE if (checkpoint / name).exists()]
    if there and not resumed:
        raise UnlearnError(f"{checkpoint} holds {', '.join(there)} of another edit; revert that first")
    for name, digest in header["beside"].items():
        if sha256_of(delta / name) != digest:
            raise DataError(f"{delta / name}: is not the file that the delta was made with")
    _flip(checkpoint, bits, header, "apply", resumed)
    for name in header["beside"]:
        replace_file(checkpoint / name, (delta / name).read_bytes())
    ended(checkpoint)


def revert(delta: Path, checkpoint: Path) -> None:
    """Make ``checkpoint`` the model before the edit, bitwise, in place. Killed on the way, the same command finishes
    it, and ``apply`` puts the edit on again.

    Raises:
        DataError: it is not the model as this delta left it; it is untouched then.
    """
    bits, header = _read(delta)
    resumed = _begun_before(checkpoint, header)
    for name, digest in header["beside"].items():
        path = checkpoint / name
        if (not path.is_file() and resumed is None) or (path.is_file() and sha256_of(path) != digest):
            raise DataError(f"{checkpoint}: does not hold this edit's {name}")
    _flip(checkpoint, bits, header, "revert", resumed)
    for name in header["beside"]:
        (checkpoint / name).unlink(missing_ok=True)
    ended(checkpoint)


def is_delta(folder: Path) -> bool:
    return (folder / FILE).is_file()


def _begun_before(folder: Path, header: dict[str, Any]) -> Journal | None:
    """An apply or revert of this very delta that was killed. Raises DataError where it was of another one."""
    journal = standing(folder)
    if journal is not None and not journal.is_of(header):
        raise DataError(
            f"{folder}: {journal.command} of another delta was interrupted here; run that {journal.command} again "
            "first, which finishes it, or its opposite, which takes it back"
        )
    return journal


def _flip(
    folder: Path, bits: dict[str, Tensor], header: dict[str, Any], command: Command, resumed: Journal | None
) -> None:
    """Turn the weights over, or those files that a killed command left as they should not be."""
    checkpoint = Checkpoint(folder)
    states = (header["base"], header["edited"])
    expected, wanted = states if command == "apply" else states[::-1]
    if resumed is None and checkpoint.fingerprint() != expected:
        which = "the model that this delta was made on" if command == "apply" else "the model as this delta left it"
        raise DataError(f"{folder} is not {which} (its fingerprint is another); nothing was changed")
    changed = {}
    for name, mask in bits.items():
        old = checkpoint.tensor(name)
        if mask.numel() != raw(old).numel():
            raise DataError(f"{folder}: {name} is of another size than in the delta; nothing was changed")
        changed[name] = (raw(old) ^ mask).view(old.dtype).reshape(old.shape)
    if resumed is not None:
        changed = checkpoint.only(changed, resumed.left(folder, command))
    if checkpoint.fingerprint(changed) != wanted:
        raise DataError("the delta is damaged: it would not give what it was made from; nothing was changed")
    contents = checkpoint.files_with(changed)
    if resumed is None:
        begun(folder, command, header, contents)
    replace_files(contents)


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(folder / FILE, framework="pt") as opened:
            header = json.loads((opened.metadata() or {})["easyedit_unlearn"])
            bits = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        strange = set(header["beside"]) - set(BESIDE) or {str(mask.dtype) for mask in bits.values()} - {"torch.uint8"}
        if strange:
            raise ValueError("it holds what no delta holds")
        return bits, {"base": str(header["base"]), "edited": str(header["edited"]), "beside": dict(header["beside"])}
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{folder}: is not a delta of this package: {error}") from None
