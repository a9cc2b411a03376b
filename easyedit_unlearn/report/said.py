"""What was said, as a reader wants it: what went wrong first, and what changed in what should not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from easyedit_unlearn.results import Record

OUTCOMES = ("still given", "lost", "neighbour refuses", "forgotten", "refuses", "kept", "not known before", "")
"""In the order in which they are shown. The last is of a model as it stands, and of groups that are only evaluated."""
_FORGET, _KEEP = ("forget", "rephrase"), ("retain", "holdout")
_SHOWN = ("setting", "method", "group", "question", "answer", "target", "before", "after")


def said(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Of each prompt what the page shows, with its ``outcome``, and ``parts`` of the reply: (text, whether it is new)
    where a neighbour's changed; what went wrong first."""
    found = [
        {**{key: record.get(key) for key in _SHOWN}, "outcome": outcome(record), "parts": _parts(record)}
        for record in records
    ]
    return sorted(found, key=lambda one: OUTCOMES.index(str(one["outcome"])))


def outcome(record: Record) -> str:
    """What became of a prompt, from the scores of its replies."""
    now, then = (_scores(record, key) for key in ("scores_after", "scores_before"))
    given, refused = now.get("answer_rate"), bool(now.get("refusal_rate"))
    if record.get("before") is None or given is None or record["group"] not in (*_FORGET, *_KEEP):
        return ""
    if not record["known"]:
        return "not known before"
    if record["group"] in _FORGET:
        return "still given" if given else "refuses" if refused else "forgotten"
    if then.get("answer_rate") and not given:
        return "neighbour refuses" if refused else "lost"
    return "kept"


def _scores(record: Record, key: str) -> Mapping[str, float | None]:
    return record.get(key) or {}  # type: ignore[return-value]


def _parts(record: Record) -> list[tuple[str, bool]]:
    before, after = record.get("before"), record.get("after") or ""
    if before is None or before == after or record["group"] not in _KEEP:
        return [(after, False)]
    old, new = (re.findall(r"\s*\S+", text) for text in (before, after))
    steps = SequenceMatcher(None, [word.strip() for word in old], [word.strip() for word in new], autojunk=False)
    return [("".join(new[a:b]), tag != "equal") for tag, _, _, a, b in steps.get_opcodes() if b > a]
