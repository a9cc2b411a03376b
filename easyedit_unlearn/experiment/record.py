"""What stands beside an unlearned checkpoint for whoever receives it: ``unlearning.json``, and what reads it again.

What was to be forgotten is hashed there, so that the record itself does not tell it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from easyedit_unlearn.artefacts.tensors import Checkpoint, tensors_digest
from easyedit_unlearn.errors import DataError, brief
from easyedit_unlearn.evaluation.judging import gives_answer, is_refusal
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.checkpoint import RECORD, SYSTEM_PROMPT, hashed
from easyedit_unlearn.report.verdict import verdict
from easyedit_unlearn.results import Row
from easyedit_unlearn.storage import ADAPTER_FILE, sha256_of
from easyedit_unlearn.types import ForgetSample, PromptStyle

_LARGEST = 64 * 2**20
_DESCRIBING = ("method", "label", "host", "engine", "mode", "target", "merge", "seed", "model", "versions", "stopped")


class Fact(BaseModel):
    """One question that was to be forgotten.

    ``question``: hashed (``checkpoint.hashed``), or in clear, and then with its ``answers`` and the ``reply``.
    ``known``: before unlearning. ``given``, ``refused``: what the reply was afterwards.
    """

    model_config = ConfigDict(extra="ignore")

    question: str
    answers: list[str] = []
    known: bool
    given: bool
    refused: bool
    reply: str | None = None


class UnlearningRecord(BaseModel):
    """``unlearning.json``.

    Attributes:
        base, date, command: the model it was made of, when, and how. verdict: in words. measures: of the table and
            beside it, numbers alone; with how it was made. hparams: of the method, as a file; of a record in clear.
        prompt, max_new_tokens: how it was asked. facts: what was to be forgotten.
        sets: how many questions each other set had.
        fingerprint: SHA-256 over the checkpoint's tensors (``artefacts.tensors.Checkpoint``). beside: the same over
            what acts beside them, by file.
    """

    model_config = ConfigDict(extra="ignore")

    format: Literal[1] = 1
    base: str
    date: str
    command: str
    verdict: str
    measures: dict[str, Any]
    hparams: str | None = None
    prompt: PromptStyle
    max_new_tokens: int = Field(ge=1)
    facts: list[Fact]
    sets: dict[str, int]
    fingerprint: str
    beside: dict[str, str]

    @property
    def in_clear(self) -> bool:
        return any(fact.answers for fact in self.facts)


def record_of(run: Run, folder: Path, *, clear: bool = False) -> UnlearningRecord:
    """Of a run's last method, whose checkpoint ``folder`` holds. ``clear``: with questions, answers and replies."""
    row = run.results.rows[-1]
    samples = {sample.id: sample for sample in run.selection.forget}
    last = [one for one in run.results.samples if one["method"] == row["label"] and one["group"] == "forget"]
    told = {one["id"]: one["after"] for one in last}
    return UnlearningRecord(
        base=run.label,
        date=run.results.date,
        command=run.results.command if clear else "",
        verdict=verdict(row) or "",
        measures=_measures(row),
        hparams=run.results.hparams.get(row["method"]) if clear else None,  # it may name files, refusals, a topic
        prompt=run.config.prompt,
        max_new_tokens=run.config.max_new_tokens,
        facts=[_fact(samples[key], reply, run.selection.known, clear) for key, reply in told.items()],
        sets={name: len(found) for name, found in run.selection.groups().items()},
        fingerprint=Checkpoint(folder).fingerprint(),
        beside=_beside(folder),
    )


def read_record(folder: Path) -> UnlearningRecord:
    """Raises DataError: there is none, or it is not one."""
    path = folder / RECORD
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: is larger than any record")
        return UnlearningRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path}: is no record of unlearning: {brief(error.errors()[0]['msg'])}") from None
    except OSError:
        raise DataError(f"{folder} holds no {RECORD}; `run` and `save` write it beside the model") from None


def differences(record: UnlearningRecord, folder: Path) -> list[str]:
    """What of the checkpoint is not as it was recorded: its weights, or a file that acts beside them."""
    found = [] if Checkpoint(folder).fingerprint() == record.fingerprint else ["the weights"]
    now = _beside(folder)
    return found + sorted(name for name in {*now, *record.beside} if now.get(name) != record.beside.get(name))


def recorded_samples(record: UnlearningRecord, samples: Iterable[ForgetSample] = ()) -> list[tuple[Fact, ForgetSample]]:
    """The known facts of a record with what they are asked by: ``samples`` that it lists, or what it holds itself."""
    named = {hashed(sample.key): sample for sample in samples}
    pairs = []
    for number, fact in enumerate(record.facts):
        found = named.get(fact.question)
        if fact.answers:
            found = ForgetSample(str(number), fact.question, fact.answers[0], tuple(fact.answers[1:]))
        if fact.known and found is not None:
            pairs.append((fact, found))
    return pairs


def judged(sample: ForgetSample, reply: str) -> tuple[bool, bool]:
    """Whether a reply gives the answer, and whether it declines: as recorded, so without the run's own targets."""
    return gives_answer(reply, sample.question, sample.answers), is_refusal(reply, sample.question, sample.answers)


def _fact(sample: ForgetSample, reply: str, known: frozenset[str], clear: bool) -> Fact:
    given, refused = judged(sample, reply)
    fact = Fact(question=hashed(sample.key), known=sample.key in known, given=given, refused=refused)
    told = {"question": sample.question, "answers": list(sample.answers), "reply": reply}
    return fact.model_copy(update=told) if clear else fact


def _measures(row: Row) -> dict[str, Any]:
    """Numbers, however deep, and what says how they were made; no text of a question or a reply."""
    about = {key: value for key, value in row.items() if key in _DESCRIBING}
    probes = {key: value for key, value in (row.get("probes") or {}).items() if key != "samples"}  # ids may tell
    told = {key: value for key, value in row.items() if key != "subjects"} | ({"probes": probes} if probes else {})
    return _numbers(told) | about


def _numbers(value: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found[key] = _numbers(item)
        elif item is None or isinstance(item, int | float) or _only_numbers(item):
            found[key] = item
    return found


def _only_numbers(value: Any) -> bool:
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    return listed and bool(value) and all(isinstance(n, int | float) for n in value)


def _beside(folder: Path) -> dict[str, str]:
    digests = {ADAPTER_FILE: tensors_digest, SYSTEM_PROMPT: sha256_of}
    return {name: of(folder / name) for name, of in digests.items() if (folder / name).is_file()}
