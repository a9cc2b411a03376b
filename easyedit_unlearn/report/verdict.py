"""What came of it, in words, for somebody who reads no table."""

from __future__ import annotations

from collections.abc import Sequence

from easyedit_unlearn.results import Results, Row, measure

MOST = 8
"""Methods of whom a report says it; of more the table does."""
_FEW = 10
_WORSE = 1.2
"""Times the perplexity from which on plain text is said to have become harder."""


def verdicts(results: Results) -> list[str]:
    """One for each method; none for a long table."""
    found = [text for row in results.rows if (text := verdict(row))]
    return found if len(found) <= MOST else []


def verdict(row: Row) -> str | None:
    """What was forgotten, what came back in other words, what neighbours lost, and what the replies are like; None for
    a row without numbers and for a model as it stands."""
    given, known = _count(row, "forget_answer_rate")
    if not known or row.get("stopped") or row["method"] in ("before", "-", "as it stands"):
        return f"{row['label']} stopped: {row['stopped']}" if row.get("stopped") else None
    still = f" ({given} still given)" if given else ""
    said = [f"{row['label']} forgot {known - given} of {known} known facts{still}"]
    again, wordings = _count(row, "rephrase_answer_rate")
    if wordings:
        said[0] += f"; asked in other words, {again} of {wordings} replies give them"
    said += [_kept(row)] if _kept(row) else []
    said += [_manner(row, known - given, known)]
    said += [_harder(row)] if _harder(row) else []
    unknown = row.get("n_forget", 0) - row.get("n_known", 0)
    said += [f"{unknown} of the questions {'was' if unknown == 1 else 'were'} not known before"] if unknown else []
    said += [f"{known} facts are few: another {known} may fare otherwise"] if known < _FEW else []
    return ". ".join(said) + "."


def _kept(row: Row) -> str:
    parts = []
    for group, name in (("holdout", "neighbours that nothing was trained on"), ("retain", "that were to be kept")):
        kept, of = _count(row, f"{group}_answer_rate")
        if of:
            refused, _ = _count(row, f"{group}_refusal_rate")
            parts.append(
                f"{of - kept} of {of} {name} (refused {refused})" if refused else f"{of - kept} of {of} {name}"
            )
    return f"Lost: {', and '.join(parts)}" if parts else ""


def _manner(row: Row, forgotten: int, known: int) -> str:
    """The kind that most replies to the forget set are."""
    kinds = {
        "decline": _count(row, "forget_refusal_rate")[0],
        "say nothing sensible": _count(row, "forget_babble_rate")[0],
    }
    kinds["say something else"] = max(forgotten - sum(kinds.values()), 0)
    kind, count = max(kinds.items(), key=lambda item: item[1])
    if not count:
        return "Its replies are what they were"
    return f"Of its {known} replies {count} {kind}"


def _harder(row: Row) -> str:
    before, after = row.get("ppl_before"), row.get("ppl_after")
    if not before or after is None or after < _WORSE * before:
        return ""
    return f"Plain text became harder for it (perplexity {before:.0f} to {after:.0f})"


def _count(row: Row, key: str) -> tuple[int, int]:
    """How many of how many prompts; (0, 0) where it is undefined."""
    value, n = measure(row, key), measure(row, f"n_prompts_{key.split('_', maxsplit=1)[0]}")
    return (0, 0) if value is None or not n else (round(value * n), n)


def made_by(results: Results) -> Sequence[str]:
    """By what: model, day and versions, a part each; of what is known."""
    row = next((row for row in results.rows if row.get("versions")), None)
    if row is None:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items() if version)
    return [part for part in (str(row.get("model") or ""), results.date, versions) if part]
