"""Read forget samples from JSON lines, strictly: every complaint names the file, the line and the field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from easyedit_unlearn.errors import DataError
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
    """One line of a user's file. Unknown fields are kept as the sample's extras."""

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


def read_jsonl(path: Path) -> list[ForgetSample]:
    """All samples of a UTF-8 JSON-lines file, one object a line.

    Raises:
        DataError: no such file, malformed line, wrong field, empty file, duplicate, or a subject that does not stand
            in its question.
    """
    numbered = parse_jsonl(path)
    samples = [sample for _, sample in numbered]
    check_samples(samples, [place for place, _ in numbered], str(path))
    return samples


def parse_jsonl(path: Path) -> list[tuple[str, ForgetSample]]:
    """Each line's place and sample, the lines one by one checked. Raises DataError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    # Not str.splitlines(): JSON strings may hold U+2028 and its like.
    numbered = [(n, f"{path}, line {n}", line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return [(place, _parse(line, place).sample(f"{path.stem}-{n}")) for n, place, line in numbered]


def sample_of(record: Mapping[str, Any], place: str) -> ForgetSample:
    """A record that is not from a file; it may lack its answer, which is empty then. Raises DataError."""
    sample = _validated({"answer": _UNKNOWN, **record}, place).sample(place)
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


def _parse(line: str, place: str) -> Record | TextRecord:
    try:
        value: Any = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{place}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{place}: must be a JSON object with 'question' and 'answer', got {type(value).__name__}")
    return _validated(
        value, place, TextRecord if "text" in value and not {"question", "answer"} & set(value) else Record
    )


def _validated(value: Mapping[str, Any], place: str, kind: type[Record | TextRecord] = Record) -> Record | TextRecord:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{place}: field '{field}': {first['msg']}") from None
