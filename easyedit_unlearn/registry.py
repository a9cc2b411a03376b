"""Name -> component, with its owner. One registry a kind; duplicates and unknown names are errors that help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from easyedit_unlearn.components import Component
from easyedit_unlearn.errors import DuplicateComponentError, UnknownNameError, suggest

C = TypeVar("C", bound=Component)


class Registry(Generic[C]):
    """Components of one kind by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._components: dict[str, C] = {}
        self._owners: dict[str, str] = {}

    def add(self, component: C, owner: str) -> None:
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
        try:
            return self._components[name]
        except KeyError:
            raise UnknownNameError(f"unknown {self.kind} {name!r}. {suggest(name, self._components)}") from None

    def owner(self, name: str) -> str:
        self.get(name)
        return self._owners[name]

    def __contains__(self, name: object) -> bool:
        return name in self._components

    def __iter__(self) -> Iterator[C]:
        return iter(sorted(self._components.values(), key=lambda component: component.name.casefold()))

    def __len__(self) -> int:
        return len(self._components)
