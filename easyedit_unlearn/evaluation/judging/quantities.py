"""A number with percent, a currency or a unit: by sign and by name, in English and in another language."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from easyedit_unlearn.evaluation.judging.words import plain

_PERCENT = {
    "en": ("percent", "per cent", "pct"), "de": ("Prozent",), "fr": ("pour cent",), "es": ("por ciento",),
    "it": ("per cento",), "pt": ("por cento",), "nl": ("procent",), "pl": ("procent", "procenta"),
    "ru": ("процент", "процента", "процентов"), "tr": ("yüzde",), "ar": ("في المئة", "بالمئة", "في المائة", "بالمائة"),
    "hi": ("प्रतिशत",), "zh": ("百分之",), "ja": ("パーセント",), "ko": ("퍼센트",),
}  # fmt: skip
_SIGNS = {"$": "USD", "£": "GBP", "€": "EUR", "¥": "JPY", "₩": "KRW", "₹": "INR"}
_UNITS = {
    "km": "length-kilometer", "m": "length-meter", "cm": "length-centimeter", "mm": "length-millimeter",
    "mi": "length-mile", "ft": "length-foot", "in": "length-inch", "kg": "mass-kilogram", "g": "mass-gram",
    "mg": "mass-milligram", "lb": "mass-pound", "lbs": "mass-pound", "oz": "mass-ounce", "l": "volume-liter",
    "ml": "volume-milliliter", "h": "duration-hour", "min": "duration-minute", "s": "duration-second",
    "km/h": "speed-kilometer-per-hour", "mph": "speed-mile-per-hour", "m/s": "speed-meter-per-second",
    "°c": "temperature-celsius", "°f": "temperature-fahrenheit", "kw": "power-kilowatt", "w": "power-watt",
    "hz": "frequency-hertz", "km²": "area-square-kilometer", "m²": "area-square-meter",
}  # fmt: skip
_QUANTITY = re.compile(r"(?P<sign>[$£€¥₩₹])?\s*(?P<number>\d[\d.,  ']*\d|\d)\s*(?P<unit>\D{0,40})\Z")


def quantity_forms(answer: str, languages: Iterable[str]) -> Iterator[str]:
    """A number with percent, a currency or a unit, the last by name and by sign."""
    match = _QUANTITY.match(answer.strip())
    if match is None:
        return
    number, unit = match["number"], plain(match["unit"])
    for names in _names(match["sign"] or "", unit, tuple(languages)):
        yield from ((f"{number} {name}" if "{}" not in name else name.replace("{}", number)) for name in names)


def _names(sign: str, unit: str, languages: tuple[str, ...]) -> Iterator[list[str]]:
    percents = [name for language in languages for name in _PERCENT.get(language, ())]
    if unit == "%" or unit in map(plain, percents):
        yield ["%", *percents, "yüzde {}", "% {}", "百分之 {}"]
    for code in {_SIGNS.get(sign), _SIGNS.get(unit), *_currencies(languages).get(unit, ())} - {None}:
        yield [*_money(str(code), languages), *(f"{one} {{}}" for one in (*_signs(str(code)), str(code))), str(code)]
    for symbol, name in _UNITS.items():
        if unit == symbol or unit in map(plain, _unit(name, languages)):
            yield [symbol, *_unit(name, languages)]


@lru_cache(maxsize=256)
def _unit(name: str, languages: tuple[str, ...]) -> tuple[str, ...]:
    from babel.units import format_unit

    made = [format_unit(value, name, "long", locale=one) for one in languages for value in (1, 2, 7)]
    names = [re.sub(r"[\d.,]+", "", text).strip() for text in made]
    british = [text.replace("meter", "metre").replace("liter", "litre") for text in names]
    degrees = [word for text in names if (word := text.removeprefix("degrees ")) != text]
    return tuple(dict.fromkeys([*names, *british, *degrees, *(["degrees"] if degrees else [])]))


@lru_cache(maxsize=64)
def _money(code: str, languages: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a currency: "British pounds", and "pounds"."""
    from babel.numbers import get_currency_name

    full = [get_currency_name(code, count, locale=one) for one in languages for count in (None, 1, 7)]
    return tuple(dict.fromkeys([*full, *(name.split()[-1] for name in full), *(["pounds sterling"] * (code == "GBP"))]))


@lru_cache(maxsize=64)
def _currencies(languages: tuple[str, ...]) -> dict[str, list[str]]:
    """Codes by what they are called."""
    found: dict[str, list[str]] = {}
    for code in _SIGNS.values():
        for name in (*_money(code, languages), code):
            found.setdefault(plain(name), []).append(code)
    return found


def _signs(code: str) -> list[str]:
    return [sign for sign, one in _SIGNS.items() if one == code]
