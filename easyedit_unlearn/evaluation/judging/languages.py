"""Which language a text is in, among those whose ways of answering and refusing are known here."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from easyedit_unlearn.evaluation.judging.words import plain

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "ru", "tr", "ar", "hi", "zh", "ja", "ko")
_SCRIPTS = (
    ("zh", re.compile(r"[\u3400-\u9fff\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
)
_KANA = re.compile(r"[\u3040-\u30ff]")
_ENGLISH = re.compile(r"\b(?:what|who|which|where|when|how|whose|the|is|was|of|are|and|to|it)\b")
LATIN = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr")
_SURE = 3
"""Letters of a script, at least, before a text is of it: a foreign name in a sentence has fewer."""


@lru_cache(maxsize=4096)
def language_of(text: str) -> str:
    """ISO 639-1. By its script where that says it, and by py3langid among the languages with Latin letters; English
    where nothing does."""
    folded = plain(text)
    if not folded.isascii():
        letters = sum(char.isalpha() for char in folded)
        for name, script in _SCRIPTS:
            found = len(script.findall(folded))
            if found >= _SURE and 3 * found >= letters:
                return "ja" if name == "zh" and _KANA.search(folded) else name
    if len(_ENGLISH.findall(folded)) >= 2 or len(folded.split()) < _SURE:
        return "en"
    return str(_identifier().classify(text)[0])


@cache
def _identifier() -> Any:
    """One of our own: the module's is the user's."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(LATIN))
    return identifier
