"""How replies decline: the regular expressions of ``phrases.yaml``, which says what its kinds are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from easyedit_unlearn.evaluation.judging.languages import LANGUAGES
from easyedit_unlearn.evaluation.judging.languages import LATIN as _LATIN

Kind = Literal["unwilling", "unknowing", "sorry", "asserts", "goes_on"]
LATIN = tuple(language for language in _LATIN if language != "en")
"""Looked for together: a short refusal is too short to tell its language."""


@cache
def pattern(kind: Kind, languages: tuple[str, ...]) -> re.Pattern[str]:
    """One kind of phrase in some languages, to be searched in ``words.plain`` text; nothing where none is known."""
    blocks = [_phrases().get(language, {}) for language in languages]
    parts = [_filled(text, block.get("parts", {})) for block in blocks for text in block.get(kind, ())]
    return re.compile("|".join(f"(?:{part})" for part in parts) or "(?!)")


@cache
def _phrases() -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))
    assert set(found) == set(LANGUAGES)  # noqa: S101  whoever adds a language adds it there as well
    return found


def _filled(text: str, parts: Mapping[str, str]) -> str:
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    bare = "".join(char for char in unicodedata.normalize("NFD", text) if not "\u0300" <= char <= "\u036f")
    return unicodedata.normalize("NFC", bare)  # letters as ``words.plain`` has them
