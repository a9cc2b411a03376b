"""Name -> component, with its owner. One registry a kind; duplicates and unknown names are errors that help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from easyedit_unlearn.components import Component, Lazy
from easyedit_unlearn.errors import DuplicateComponentError, UnknownNameError, suggest

C = TypeVar("C", bound=Component)


class Registry(Generic[C]):
    """Components of one kind by name; one that is registered lazily is imported when it is first asked for."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._components: dict[str, C | Lazy] = {}
        self._owners: dict[str, str] = {}

    def add(self, component: C | Lazy, owner: str) -> None:
        """Raises DuplicateComponentError naming both owners."""
        name = component.name
        if name in self._components:
            raise DuplicateComponentError(
                f"two plugins register the {self.kind} {name!r}: {self._owners[name]} and {owner}. "
                f"Disable one with EASYEDIT_UNLEARN_DISABLE={owner}, or rename."
            )
        self._components[name] = component
        self._owners[name] = owner

    def get(self, name: str) -> C:
        """Raises UnknownNameError listing the names there are."""
        if name not in self._components:
            raise UnknownNameError(f"unknown {self.kind} {name!r}. {suggest(name, self._components)}")
        found = self._components[name]
        if isinstance(found, Lazy):
            found = self._components[name] = found.load()
        return found

    def owner(self, name: str) -> str:
        """Which plugin registered it. Raises UnknownNameError."""
        return self._owners[name] if name in self._owners else str(self.get(name))

    @property
    def names(self) -> list[str]:
        return sorted(self._components, key=str.casefold)

    def summary(self, name: str) -> str:
        """One line, without importing anything."""
        return self._components[name].summary

    def __contains__(self, name: object) -> bool:
        return name in self._components

    def __iter__(self) -> Iterator[C]:
        return iter([self.get(name) for name in self.names])

    def __len__(self) -> int:
        return len(self._components)
