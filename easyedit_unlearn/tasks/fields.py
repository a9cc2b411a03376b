"""Which field of a row is what: by the name it is told, ours, or one that others use."""

from __future__ import annotations

import difflib
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from easyedit_unlearn.errors import DataError, UnlearnWarning

FIELDS = ("question", "answer", "subject", "rephrases", "aliases", "id", "response")
OTHERS: Mapping[str, Sequence[str]] = {
    "question": ("prompt", "query", "instruction", "input", "q", "src"),
    "answer": ("ground_truth", "answers", "output", "completion", "a", "target_true"),
    "subject": ("entity",),
    "rephrases": ("rephrase", "rephrase_prompt", "rephrased_question", "paraphrase", "paraphrases",
                  "paraphrased_question", "paraphrased_questions"),
    "aliases": ("alias", "answer_aliases"),
}  # fmt: skip
"""What EasyEdit, TOFU and others call them; a number may follow, as in ``paraphrased_question_2``."""
_EXTRAS = re.compile(
    "(perturbed|paraphrased|golden|inverted|false)_(answer|question)(_?[0-9]+)?|alternative|target_new|edge|task_id|name|"
    "locality.*|loc.*|portability.*|text|subject_pii|cond|case_id|category|relation|source|language"
)
"""What means something to a metric, or is known to stand in published data."""
_LONGEST = 1_000_000
"""Characters of one text."""


def as_record(row: Mapping[str, Any], named: Mapping[str, str], place: str) -> dict[str, Any]:
    """The row with our fields, and whatever else it holds.

    An answer may be a list, whose first is the answer and whose others are aliases, or an object with a ``text``; a
    rephrase may be one text or several; numbers are text.

    Args:
        named: by our field the row's own, a path with dots where it lies deeper: ``{"answer": "answers.text.0"}``.

    Raises:
        DataError: a named field is not there, or a text is longer than a million characters.
    """
    found: dict[str, Any] = {}
    used = {path.split(".")[0] for path in named.values()}
    for field, path in named.items():
        found[field] = _at(row, path, field, place)
    for field in FIELDS:
        if field not in found:
            keys = [key for key in ([field] if field in row else _others(field, row)) if key not in used]
            if keys:
                found[field] = [row[key] for key in keys] if len(keys) > 1 else row[keys[0]]
                used |= set(keys)
    if isinstance(found.get("question"), list):  # instruction and input
        found["question"] = "\n".join(_texts(found["question"]))
    record = {field: value for field, value in found.items() if value not in (None, [], "")}
    if "answer" in record:
        first, *more = _texts(record["answer"]) or [""]
        record["answer"] = first
        record["aliases"] = [*_texts(record.get("aliases", [])), *more]
    for field in ("rephrases", "aliases"):
        record[field] = _texts(record.get(field, []))
    for field in ("question", "subject", "id", "response"):
        if isinstance(record.get(field), int | float) and not isinstance(record[field], bool):
            record[field] = _number(record[field])
    rest = {str(key): value for key, value in row.items() if key not in used}
    _check_lengths({**rest, **record}, place)
    return {**rest, **record}


def tell_unknown(names: Sequence[str], source: str) -> None:
    """Warn, once, of fields that nothing reads, with what may have been meant."""
    unknown = [name for name in names if not (_EXTRAS.fullmatch(_plain(name)) or _plain(name) in FIELDS)]
    if unknown:
        _tell(source, tuple(sorted(set(unknown))))


@cache
def _tell(source: str, names: tuple[str, ...]) -> None:
    known = {other: field for field, others in OTHERS.items() for other in others} | {field: field for field in FIELDS}
    shown = []
    for name in names[:10]:
        near = difflib.get_close_matches(_plain(name), known, n=1, cutoff=0.75)
        shown.append(f"{name!r}" + (f" (did you mean {known[near[0]]!r}?)" if near else ""))
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    warnings.warn(f"{source}: nothing reads the fields {', '.join(shown)}{more}", UnlearnWarning, stacklevel=5)


def is_record(row: Mapping[str, Any]) -> bool:
    """True if a mapping has a field of ours, or one that others use, among its keys; else they may be questions."""
    known = {"text", *FIELDS, *(other for others in OTHERS.values() for other in others)}
    return any(_plain(str(key)) in known for key in row)


def file_name(name: str) -> str:
    """``name``, which must be one of a file in a data set's folder. Raises DataError."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise DataError(f"{name!r} is no file name; give the name of a file in the data set's folder")
    return name


def _others(field: str, row: Mapping[str, Any]) -> list[str]:
    """The row's names for a field, in the order of ``OTHERS``; of an instruction its input too, of others the first."""
    found = [
        key
        for other in (field, *OTHERS.get(field, ()))
        for key in row
        if re.fullmatch(rf"{other}(_?\d+)?", _plain(str(key)))
    ]
    if field == "question":
        pair = [key for key in found if _plain(str(key)) in ("instruction", "input") and row[key]]
        return pair if len(pair) == 2 else found[:1]
    return found if field in ("rephrases", "aliases") else found[:1]


def _at(row: Mapping[str, Any], path: str, field: str, place: str) -> Any:
    value: Any = row
    for part in [path] if path in row else path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            if field in ("question", "answer"):
                raise DataError(
                    f"{place}: has no field {path!r} for {field!r}; it has {', '.join(map(str, row))}"
                ) from None
            return None
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping) and "text" in value:  # SQuAD's {"text": [...], "answer_start": [...]}
        value = value["text"]
    if isinstance(value, list | tuple):
        return [text for one in value for text in _texts(one)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [_number(value)] if math.isfinite(value) else []
    return [value] if isinstance(value, str) and value else [] if value in (None, "") else [value]


def _number(value: float) -> str:
    """As one writes it: a whole number has no fraction."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _check_lengths(record: Mapping[str, Any], place: str) -> None:
    for field, value in record.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and len(text) > _LONGEST:
                raise DataError(f"{place}: field {field!r} has {len(text):,} characters; at most {_LONGEST:,} are read")


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().casefold())
