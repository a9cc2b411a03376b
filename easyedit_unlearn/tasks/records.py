"""Forget samples of a file's rows, strictly: every complaint names the file, the line and the field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.tasks.fields import as_record, tell_unknown
from easyedit_unlearn.tasks.rows import rows_of
from easyedit_unlearn.types import ForgetSample

AUTO = "auto"
"""In place of a subject: it is to be found."""
_UNKNOWN = "\0"


class TextRecord(BaseModel):
    """A line that holds a plain text. Unknown fields are kept as the sample's extras."""

    model_config = ConfigDict(extra="allow", strict=True)

    text: str = Field(min_length=1)
    id: str | None = Field(default=None, min_length=1)

    def sample(self, fallback_id: str) -> ForgetSample:
        return ForgetSample(self.id or fallback_id, "", self.text, extras=dict(self.model_extra or {}))


class Record(BaseModel):
    """One row of a user's file. Unknown fields are kept as the sample's extras."""

    model_config = ConfigDict(extra="allow", strict=True)

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    id: str | None = Field(default=None, min_length=1)
    aliases: list[str] = []
    subject: str | None = Field(default=None, min_length=1)
    rephrases: list[str] = []
    response: str | None = Field(default=None, min_length=1)

    def sample(self, fallback_id: str) -> ForgetSample:
        return ForgetSample(
            id=self.id or fallback_id,
            question=self.question,
            answer=self.answer,
            aliases=tuple(self.aliases),
            subject=None if self.subject == AUTO else self.subject,
            rephrases=tuple(self.rephrases),
            response=self.response,
            extras=dict(self.model_extra or {}),
        )


def read_file(path: Path, named: Mapping[str, str] | None = None) -> list[ForgetSample]:
    """All samples of a file (:func:`rows.rows_of`); ``named``: by our field what the file calls it.

    Raises:
        DataError: no such file, malformed line, wrong field, empty file, duplicate, or a subject that does not stand
            in its question.
    """
    numbered = parse_file(path, named)
    samples = [sample for _, sample in numbered]
    check_samples(samples, [place for place, _ in numbered], str(path))
    return samples


def parse_file(path: Path, named: Mapping[str, str] | None = None) -> list[tuple[str, ForgetSample]]:
    """Each row's place and sample, the rows one by one checked. Raises DataError."""
    found = [(place, _parse(row, named or {}, place).sample(f"{path.stem}-{n}")) for place, n, row in rows_of(path)]
    tell_unknown([name for _, sample in found for name in sample.extras], str(path))
    return found


def published(path: Path, named: Mapping[str, str] | None = None) -> list[ForgetSample]:
    """Of a published data set's file, one by one checked. Without ``named`` its fields stand under their own names,
    those that are not ours as extras. Raises DataError."""
    rows = [(place, n, row if named is None else as_record(row, named, place)) for place, n, row in rows_of(path)]
    return [_validated(row, place).sample(f"{path.stem}-{n}") for place, n, row in rows]


def sample_of(record: Mapping[str, Any], place: str) -> ForgetSample:
    """A record that is not from a file; it may lack its answer, which is empty then. Raises DataError."""
    sample = _validated({"answer": _UNKNOWN, **as_record(record, {}, place)}, place).sample(place)
    tell_unknown(list(sample.extras), place)
    return replace(sample, answer="") if sample.answer == _UNKNOWN else sample


def check_samples(samples: Sequence[ForgetSample], places: Sequence[str], source: str) -> None:
    """Raise DataError for an empty set, duplicate ids or questions, blank texts, or a subject not in its question."""
    if not samples:
        raise DataError(f"{source}: holds no samples; give at least one with 'question' and 'answer'")
    seen: dict[tuple[str, str], str] = {}
    for sample, place in zip(samples, places, strict=True):
        for field, value in (("id", sample.id), ("text" if sample.is_text else "question", sample.key)):
            if (field, value) in seen:
                raise DataError(f"{place}: field '{field}' repeats {seen[field, value]}: {value!r}")
            seen[field, value] = place
        for field, texts in _texts(sample):
            if any(not text.strip() for text in texts):
                raise DataError(f"{place}: field '{field}' is blank")
        if sample.subject is not None and sample.subject not in sample.question:
            raise DataError(
                f"{place}: field 'subject': {sample.subject!r} does not stand in the question {sample.question!r}; "
                "copy it from there, letter for letter"
            )


def _texts(sample: ForgetSample) -> Iterable[tuple[str, Sequence[str]]]:
    yield "question", [] if sample.is_text else [sample.question]
    yield "text" if sample.is_text else "answer", [sample.answer]
    yield "aliases", sample.aliases
    yield "rephrases", sample.rephrases
    yield "subject", [] if sample.subject is None else [sample.subject]


def _parse(row: Mapping[str, Any], named: Mapping[str, str], place: str) -> Record | TextRecord:
    record = as_record(row, named, place)
    if "text" in row and not {"question", "answer"} & set(record):
        return _validated({key: value for key, value in record.items() if value != []}, place, TextRecord)
    return _validated(record, place)


def _validated(value: Mapping[str, Any], place: str, kind: type[Record | TextRecord] = Record) -> Record | TextRecord:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{place}: field '{field}': {first['msg']}") from None
