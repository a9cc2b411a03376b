"""Text for key statistics: a file, the retain set, or a Hub data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from easyedit_unlearn.errors import ConfigError, DataError
from easyedit_unlearn.tasks.data import data_dir

DEFAULT = "corpus/wikitext2-valid.txt"
_CHARACTERS = 8
"""Read from the Hub for each token wanted: more than any tokenizer needs."""


@dataclass(frozen=True)
class Corpus:
    """Texts for statistics, and how many of their tokens to use."""

    texts: Sequence[str]
    max_tokens: int = 65_536

    @classmethod
    def from_file(cls, path: Path, max_tokens: int = 65_536) -> Corpus:
        """Paragraphs of a UTF-8 text file. Raises DataError when it cannot be read or is empty."""
        try:
            texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as text for statistics: {error}") from None
        if not texts:
            raise DataError(f"{path}: holds no text for statistics")
        return cls(texts, max_tokens)

    def digest(self) -> str:
        """Of the texts themselves, not of where they came from."""
        sha = hashlib.sha256(str(self.max_tokens).encode())
        for text in self.texts:
            sha.update(len(text).to_bytes(8, "little") + text.encode("utf-8", "surrogatepass"))
        return sha.hexdigest()


def has_corpus(native: Any) -> bool:
    """True if the hparams or the data directory name any text."""
    folder = data_dir()
    return native.corpus is not None or (folder is not None and (folder / DEFAULT).is_file())


def corpus_of(native: Any, method: str, retain: Sequence[tuple[str, str]] = ()) -> Corpus:
    """The text that the ``unlearn.native`` block names, or the data directory's.

    Raises:
        ConfigError: none is named anywhere, or the retain set is, and there is none. DataError: it cannot be read.
    """
    named, folder = native.corpus, data_dir()
    if named == "retain":
        if not retain:
            raise ConfigError(f"{method} was given no retain set", key="unlearn.native.corpus", value=named)
        return Corpus([prompt + answer for prompt, answer in retain], native.corpus_tokens)
    if named is not None and named.startswith("hub:"):
        return _from_hub(named.removeprefix("hub:"), native.corpus_tokens)
    if named is None and folder is None:
        raise ConfigError(
            f"{method} needs text to know which keys it must not disturb: name a file, retain, or hub:NAME[:CONFIG], "
            f"or set EASYEDIT_UNLEARN_DATA to a data directory with {DEFAULT}",
            key="unlearn.native.corpus",
        )
    return Corpus.from_file(Path(named or f"{folder}/{DEFAULT}").expanduser(), native.corpus_tokens)


def _from_hub(name: str, max_tokens: int) -> Corpus:
    try:
        from datasets import load_dataset
    except ImportError:
        raise ConfigError(
            "a Hub data set needs the package datasets: pip install datasets", key="unlearn.native.corpus", value=name
        ) from None
    path, _, config = name.partition(":")
    try:
        rows: Iterable[Any] = load_dataset(path, config or None, split="train", streaming=True)
        texts, characters = [], 0
        for row in islice(rows, max_tokens):
            texts.append(str(row["text"]))
            characters += len(texts[-1])
            if characters >= max_tokens * _CHARACTERS:
                break
    except Exception as error:  # whatever the Hub, its cache or a loading script raise
        raise DataError(f"hub:{name}: cannot be read as a data set with a column 'text': {error}") from error
    if not any(text.strip() for text in texts):
        raise DataError(f"hub:{name}: holds no text")
    return Corpus(texts, max_tokens)
