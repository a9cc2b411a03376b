"""Every error a user can cause. Each message says what was wrong and what to do; the CLI prints it as one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import Any


class UnlearnError(Exception):
    """Base of all errors that are the caller's to mend."""


class ConfigError(UnlearnError):
    """A settings file is wrong: names the file, the key, the value and what is allowed."""

    def __init__(self, problem: str, *, file: str | Path | None = None, key: str | None = None, value: Any = None):
        self.problem, self.file, self.key, self.value = problem, file, key, value
        where = f"{file}: " if file is not None else ""
        what = f"{key}: {brief(value)}: " if key is not None and value is not None else f"{key}: " if key else ""
        super().__init__(f"{where}{what}{problem}")


def brief(value: Any) -> str:
    """What stands in a file, at most a line of it: it may be of any size."""
    return _BRIEF.repr(value)


_BRIEF = Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 200
_BRIEF.maxlist = _BRIEF.maxdict = _BRIEF.maxtuple = _BRIEF.maxset = 8
_BRIEF.maxlevel = 4


class UnknownNameError(UnlearnError):
    """A name that no registered component has."""


class DuplicateComponentError(UnlearnError):
    """Two plugins register one name."""


class PluginError(UnlearnError):
    """A plugin is broken and the caller asked for strictness."""


class DataError(UnlearnError):
    """Malformed task data: names the file, the line and the field."""


class HostError(UnlearnError):
    """EasyEdit is missing, or cannot do what is asked."""


class DivergenceError(UnlearnError):
    """Training left the finite numbers; the weights were put back."""


class AttainmentError(DivergenceError):
    """An edit did not bring about the change it was optimised for; the weights were put back."""


class OutputExistsError(UnlearnError):
    """The output directory already holds results."""


@contextmanager
def in_one_line(what: str, kind: type[UnlearnError] = UnlearnError) -> Iterator[None]:
    """What a model's own code, or EasyEdit's, raises within is told in one line, with the cause behind it."""
    try:
        yield
    except UnlearnError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or "no message"
        raise kind(f"{what}: {type(error).__name__}: {said[:300]}") from error


def suggest(name: str, available: Iterable[str]) -> str:
    """A sentence that lists the allowed names and the one that was probably meant."""
    names = sorted(available)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if not close:  # "rome" for "ROME": difflib counts case
        close = [other for other in names if other.casefold() == name.casefold()]
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Available: {', '.join(names) or 'none'}."


class UnlearnWarning(UserWarning):
    """Something was done otherwise than asked, and the result may suffer."""
