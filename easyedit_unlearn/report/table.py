"""The one table, as columns of text; the terminal, Markdown and HTML only draw it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """A heading with the wanted direction, and the row key it shows."""

    key: str
    heading: str
    about: str
    kind: str = "share"


COLUMNS = (
    Column("label", "method", "the unlearning method; the first row is the untouched model", "text"),
    Column(
        "balance",
        "balance ↑",
        "harmonic mean of the shares forgotten, forgotten in other words, retained, and kept on holdout",
        "part",
    ),
    Column("forget_answer_rate", "forget: still given ↓", "share of known forget facts whose answer is still given"),
    Column("forget_refusal_rate", "forget: refused ↑", "share of them answered with a refusal"),
    Column("rephrase_answer_rate", "rephrase: still given ↓", "the same facts asked in other words"),
    Column("rephrase_refusal_rate", "rephrase: refused ↑", "refusals to the same facts asked in other words"),
    Column("retain_answer_rate", "retain: kept ↑", "share of known facts kept that the method was allowed to train on"),
    Column("holdout_answer_rate", "holdout: kept ↑", "share of known neighbours kept that no method ever saw"),
    Column("retain_refusal_rate", "retain: refused ↓", "over-refusal on the retain set"),
    Column("holdout_refusal_rate", "holdout: refused ↓", "over-refusal on the neighbours"),
    Column(
        "reliability", "reliability ↑", "EasyEdit's: share of the refusal's tokens that come, asked as edited", "part"
    ),
    Column("generality", "generality ↑", "the same, asked in other words", "part"),
    Column("locality", "locality ↑", "share of what was said on the neighbours that still comes", "part"),
    Column("ppl_after", "perplexity", "on the bundled text; the first row is the value before", "number"),
    Column("seconds", "seconds", "of unlearning through BaseEditor, EasyEdit's own checks included", "number"),
    Column("peak_memory_mb", "peak MB", "of the whole process while unlearning, in 10^6 bytes", "number"),
)


REFUSALS = (
    Column("label", "method", "the method, and its recipe", "text"),
    Column("n", "refusals", "one a forget sample", "count"),
    Column("specificity", "names the subject ↑", "share of refusals that say what they are about"),
    Column("leakage", "gives away ↓", "share that hold the answer, an alias or a distinctive part of it"),
    Column("written_by_model", "own words", "share that the model wrote itself; the others are templates"),
    Column("perplexity", "perplexity ↓", "of the refusals, under the untouched model", "number"),
    Column("diversity", "distinct-2 ↑", "different word pairs over all word pairs", "number"),
)
"""What the refusals are like that a method was given."""


def cell(row: Mapping[str, Any], column: Column) -> str:
    """``40 % (2/5)``, a number, or ``-`` for what is undefined."""
    value = row.get(column.key)
    if value is None:
        return "-"
    if column.kind in _SHOWN:
        return _SHOWN[column.kind](value)
    n = row["n"] if "n" in row else row[f"n_prompts_{column.key.split('_')[0]}"]
    return f"{100 * value:.0f} % ({round(value * n)}/{n})"


def fraction(row: Mapping[str, Any], column: Column) -> str:
    """The same, of a share only ``2/5``."""
    text = cell(row, column)
    return text.partition("(")[2].rstrip(")") if column.kind == "share" and "(" in text else text


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


_SHOWN: Mapping[str, Callable[[Any], str]] = {
    "text": str,
    "count": str,
    "number": _number,
    "part": lambda value: f"{100 * value:.0f} %",
}
"""How a value is written; the other kind, a share, with how many of how many prompts."""


def all_rows(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The untouched model first, then the methods."""
    return [row for row in (results["before"], *results["rows"]) if row]


def before_of(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The untouched model of the same setting; None where there is none, or ``row`` is it."""
    mine = (one for one in rows if one["method"] == "before" and one.get("setting") == row.get("setting"))
    return next((one for one in mine if one is not row), None)


def cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [[cell(row, column) for column in COLUMNS] for row in rows]


def best_places(rows: Sequence[Mapping[str, Any]]) -> set[tuple[int, int]]:
    """(row, column) of the best value of each column with a direction, among the methods of one setting; of ties, all.
    None where a setting has a single method."""
    found: set[tuple[int, int]] = set()
    for setting in {row.get("setting") for row in rows}:
        mine = [n for n, row in enumerate(rows) if row.get("setting") == setting and row["method"] != "before"]
        for place, column in enumerate(COLUMNS):
            values = {n: rows[n][column.key] for n in mine if rows[n].get(column.key) is not None}
            if len(values) > 1 and column.heading[-1] in _BEST:
                best = _BEST[column.heading[-1]](values.values())
                found |= {(n, place) for n, value in values.items() if value == best}
    return found


_BEST: Mapping[str, Callable[[Any], Any]] = {"↑": max, "↓": min}


def refusal_cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A row for each method that was given refusals; none where all were one fixed sentence."""
    given = [{"label": row["label"], **row["refusals"]} for row in rows if row.get("refusals")]
    if all(row["unique"] * row["n"] <= 1 for row in given):
        return []
    return [[cell(row, column) for column in REFUSALS] for row in given]


def interval_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The 95 % intervals that a handful of facts leave, one line a method; of one that stopped, why."""
    wanted = ("forget_answer_rate", "rephrase_answer_rate", "retain_answer_rate", "holdout_answer_rate")
    lines = []
    for row in rows:
        if row.get("stopped"):
            lines.append(f"{row['label']}: {row['stopped']}")
            continue
        parts = [
            f"{key.removesuffix('_answer_rate')} {100 * bounds[0]:.0f}–{100 * bounds[1]:.0f} %"
            for key in wanted
            if (bounds := row["intervals"].get(key))
        ]
        lines.append(f"{row['label']}: {', '.join(parts)}")
    return lines


def excerpt(samples: Sequence[Mapping[str, Any]], count: int = 3) -> list[dict[str, Any]]:
    """The first forgotten questions with the answer before and, by method, after."""
    found: dict[str, dict[str, Any]] = {}
    for record in samples:
        if record["group"] == "forget" and record["known"]:
            entry = found.setdefault(
                record["question"], {"question": record["question"], "before": record["before"], "after": {}}
            )
            entry["after"][record["method"]] = record["after"]
    return list(found.values())[:count]
