"""A date in the orders, languages and signs in which dates are written."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from datetime import datetime


def date_forms(answer: str, languages: Iterable[str]) -> Iterator[str]:
    """A day, month and year in other orders and by other names."""
    day = _day(answer)
    if day is None:
        return
    from babel.dates import format_date
    from num2words import num2words

    d, m, y = day.day, day.month, day.year
    for language in languages:
        for pattern in ("d MMMM y", "MMMM d y", "d MMM y", "MMM d y", "y MMMM d"):
            yield format_date(day, pattern, locale=language)
    english = [format_date(day, pattern, locale="en") for pattern in ("MMMM", "MMM")]
    for name in (*english, *(["Sept"] if m == 9 else [])):
        nth = num2words(d, to="ordinal_num")
        yield from (f"{name} {nth} {y}", f"{nth} {name} {y}", f"{nth} of {name} {y}",
                    f"{nth} {name} of {y}", f"{name} {d} {y}", f"{d} {name} {y}")  # fmt: skip
    yield from (f"{d} de {format_date(day, 'MMMM', locale=one)} de {y}" for one in ("es", "pt"))
    yield from (f"{y}年{m}月{d}日", f"{y}년 {m}월 {d}일", f"{y} {m} {d}", f"{y} {m:02} {d:02}")
    yield from (f"{a:0{w}} {b:0{w}} {y}" for a, b in ((d, m), (m, d)) for w in (1, 2))


def _day(answer: str) -> datetime | None:
    """The date that the whole of ``answer`` is; None where day, month or year is missing."""
    if len(answer) > 40 or len(re.findall(r"\d+", answer)) not in (2, 3):
        return None
    from dateutil import parser

    found = []
    for default in (datetime(1904, 1, 2), datetime(1908, 2, 3)):  # what is missing differs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found.append(parser.parse(answer, default=default))
            except (ValueError, OverflowError, AttributeError, TypeError):
                return None
    return found[0] if found[0] == found[1] and not (found[0].hour or found[0].minute) else None
