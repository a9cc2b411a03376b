"""The one table, as columns of text; the terminal, Markdown and HTML only draw it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from easyedit_unlearn.components import Component, Metric
from easyedit_unlearn.results import Record, Results, Row, measure
from easyedit_unlearn.types import Column, Direction, Format

GROUPS = ("forget", "rephrase", "retain", "holdout")
_FIRST = (
    Column("label", "method", "the unlearning method; the first row is the untouched model", "text", short="method"),
    Column(
        "balance", "balance", "harmonic mean of the shares forgotten, forgotten in other words, retained, and kept on "
        "holdout", "percent", "up", "balance",
    ),
)  # fmt: skip
_LAST = (
    Column("reliability", "reliability", "EasyEdit's: share of the refusal's tokens that come, asked as edited",
           "percent", "up"),
    Column("generality", "generality", "the same, asked in other words", "percent", "up"),
    Column("locality", "locality", "share of what was said on the neighbours that still comes", "percent", "up"),
    Column("attainment", "attainment", "of the change that an editor promised, the smallest share that came about",
           "number", "up"),
    Column("ppl_after", "perplexity", "on the bundled text; the first row is the value before", "number",
           short="perplexity"),
    Column("seconds", "seconds", "of unlearning through BaseEditor, EasyEdit's own checks included", "number",
           short="seconds"),
    Column("peak_memory_mb", "peak MB", "of the whole process while unlearning, in 10^6 bytes", "number", short="MB"),
)  # fmt: skip
_WIDE = frozenset(
    "attainment reliability generality locality rephrase_refusal_rate retain_refusal_rate holdout_refusal_rate".split()
)
REFUSALS = (
    Column("label", "method", "the method, and its recipe", "text"),
    Column("n", "refusals", "one a forget sample", "count"),
    Column("specificity", "names the subject", "share of refusals that say what they are about", "share", "up"),
    Column(
        "leakage", "gives away", "share that hold the answer, an alias or a distinctive part of it", "share", "down"
    ),
    Column("written_by_model", "own words", "share that the model wrote itself; the others are templates"),
    Column("perplexity", "perplexity", "of the refusals, under the untouched model", "number", "down"),
    Column("diversity", "distinct-2", "different word pairs over all word pairs", "number", "up"),
)
"""What the refusals are like that a method was given."""
REPLIES = (
    Column("label", "method", "the method; the first row is the untouched model", "text"),
    Column("n", "replies", "to the forget set's questions", "count"),
    *(column for column in REFUSALS if column.key in ("specificity", "leakage", "perplexity", "diversity")),
    Column("unique", "unique", "share of different texts among them", "percent", "up"),
)
"""What the replies are like that a method leads to."""


@dataclass(frozen=True)
class Quality:
    """One table: of each method, how good its refusals or its replies are, or what else it can do."""

    title: str
    columns: Sequence[Column]
    cells: list[list[str]]


def quality_tables(rows: Sequence[Row]) -> list[Quality]:
    """The refusals that methods were given, unless all were one fixed sentence; what the models then say; and what else
    they can do."""
    found = []
    for title, key, columns in (
        ("Refusals they were given", "refusals", REFUSALS),
        ("What they say to the forget set", "replies", REPLIES),
    ):
        given = [{**(measure(row, key) or {}), "label": row["label"]} for row in rows if measure(row, key)]
        if key == "refusals" and all(one["unique"] * one["n"] <= 1 for one in given):
            continue
        if given:
            found.append(Quality(title, columns, cells([cast(Row, one) for one in given], columns)))
    return found + _abilities(rows)


def _abilities(rows: Sequence[Row]) -> list[Quality]:
    """What lm-evaluation-harness measured, with half of the 95 % interval; a column a number, a line a method."""
    measured = [row for row in rows if row.get("abilities")]
    names = list(dict.fromkeys(name for row in measured for name in row["abilities"]))
    columns = [_FIRST[0], *(Column(name, name, "of lm-evaluation-harness", "text") for name in names)]
    lines = [[row["label"], *(_ability(row["abilities"].get(name)) for name in names)] for row in measured]
    return [Quality("What else it can do (lm-evaluation-harness)", columns, lines)] if measured else []


def _ability(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "-"
    return f"{one['value']:.3f}" + (f" ±{1.96 * one['stderr']:.3f}" if one["stderr"] is not None else "")


def table_columns(metrics: Iterable[Component]) -> list[Column]:
    """The table's columns: what each metric says it has for a group, between what every row has."""
    found = [metric for metric in metrics if isinstance(metric, Metric)]
    of_metrics = [metric.column(group) for group in GROUPS for metric in found if group in metric.groups]
    return [*_FIRST, *of_metrics, *_LAST]


def narrow(columns: Sequence[Column]) -> list[Column]:
    """The columns that fit beside one another in a terminal."""
    return [column for column in columns if column.key not in _WIDE]


def cell(row: Row, column: Column) -> str:
    """``40 % (2/5)``, a number, or ``-`` for what is undefined."""
    value = measure(row, column.key)
    if value is None:
        return "-"
    if column.format != "share":
        return _SHOWN[column.format](value)
    n = measure(row, "n") or measure(row, f"n_prompts_{column.key.split('_')[0]}")
    return f"{100 * value:.0f} % ({round(value * n)}/{n})"


def fraction(row: Row, column: Column) -> str:
    """The same, of a share only ``2/5``."""
    text = cell(row, column)
    return text.partition("(")[2].rstrip(")") if column.format == "share" and "(" in text else text


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


_SHOWN: Mapping[Format, Callable[[Any], str]] = {
    "text": str,
    "count": str,
    "number": _number,
    "percent": lambda value: f"{100 * value:.0f} %",
}


def all_rows(results: Results) -> list[Row]:
    """The untouched model first, then the methods."""
    return [row for row in (results.before, *results.rows) if row]


def before_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """The untouched model of the same setting; None where there is none, or ``row`` is it."""
    mine = (one for one in rows if one["method"] == "before" and one.get("setting") == row.get("setting"))
    return next((one for one in mine if one is not row), None)


def cells(rows: Sequence[Row], columns: Sequence[Column]) -> list[list[str]]:
    return [[cell(row, column) for column in columns] for row in rows]


def best_places(rows: Sequence[Row], columns: Sequence[Column]) -> set[tuple[int, int]]:
    """(row, column) of the best value of each column with a direction, among the methods of one setting; of ties, all.
    None where a setting has a single method, all have the same, or even the best share is on the wrong side of half."""
    found: set[tuple[int, int]] = set()
    for setting in {row.get("setting") for row in rows}:
        mine = [n for n, row in enumerate(rows) if row.get("setting") == setting and row["method"] != "before"]
        for place, column in enumerate(columns):
            values = {n: value for n in mine if (value := measure(rows[n], column.key)) is not None}
            if len(set(values.values())) > 1 and column.direction != "none":
                best = _BEST[column.direction](values.values())
                if column.format in ("share", "percent") and (best < 0.5) == (column.direction == "up") and best != 0.5:
                    continue
                found |= {(n, place) for n, value in values.items() if value == best}
    return found


_BEST: Mapping[Direction, Callable[[Any], Any]] = {"up": max, "down": min}


def interval_lines(rows: Sequence[Row]) -> list[str]:
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


def note_lines(rows: Sequence[Row]) -> list[str]:
    """How many facts were not known before, by setting; and the next step, for each method that left most of the facts
    standing."""
    lacking = {
        (row.get("setting"), row["n_forget"] - row["n_known"], row["n_forget"]): None
        for row in rows
        if "n_known" in row and row["n_known"] < row["n_forget"]  # not of a cell that failed
    }
    unknown = [
        f"{f'{setting}: ' if setting else ''}{count} of {of} {'was' if count == 1 else 'were'} not known before, and "
        "counts in no share" for setting, count, of in lacking
    ]  # fmt: skip
    advised = [f"{row['label']}: {row['advice']}" for row in rows if row.get("advice")]
    return [*unknown, *_subject_lines(rows), *advised]


def _subject_lines(rows: Sequence[Row], shown: int = 5) -> list[str]:
    """What questions were taken to be about, where no data said so; one line for methods that found the same."""
    methods: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for row in rows:
        if row.get("subjects"):
            methods.setdefault(tuple(row["subjects"].items()), []).append(row["label"])
    return [
        f"{', '.join(labels)}: subjects found, where none was given, as the part of a question its answer hangs on: "
        + "; ".join(f"{subject!r} in {question!r}" for question, subject in found[:shown])
        + (f"; and {len(found) - shown} more" if len(found) > shown else "")
        for found, labels in methods.items()
    ]


def excerpt(samples: Sequence[Record], count: int = 3) -> list[dict[str, Any]]:
    """The first forgotten questions with the answer before and, by method, after."""
    found: dict[str, dict[str, Any]] = {}
    for record in samples:
        if record["group"] == "forget" and record["known"] and record["question"]:
            entry = found.setdefault(
                record["question"], {"question": record["question"], "before": record["before"], "after": {}}
            )
            entry["after"][record["method"]] = record["after"]
    return list(found.values())[:count]
