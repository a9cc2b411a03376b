"""What happens when EasyEdit is imported: found, shielded from, adapted.

A finder at the front of ``sys.meta_path`` recognises ``easyeditor`` by name and does nothing else, so that
``import easyedit_unlearn`` stays cheap and importing EasyEdit, before or after, is what registers the methods.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from easyedit_unlearn.host.find import PACKAGE, clone_path, find_host


class _Finder:
    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name == PACKAGE:
            home = clone_path()
            spec = PathFinder.find_spec(name, [str(home)] if home else None)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
            return spec
        if name.startswith(f"{PACKAGE}."):
            return self._broken_part(name)
        return None

    @staticmethod
    def _broken_part(name: str) -> ModuleSpec | None:
        from easyedit_unlearn.host.placeholders import BROKEN_IN_RELEASE, PlaceholderLoader

        host = find_host()
        if name in BROKEN_IN_RELEASE and host is not None and host.kind == "release":
            return ModuleSpec(name, PlaceholderLoader(), is_package=True)  # type: ignore[arg-type]
        return None


class _Loader:
    """Runs EasyEdit's own loader with the user's state kept, then adapts what it loaded."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        from easyedit_unlearn.host.adapt import adapt
        from easyedit_unlearn.host.placeholders import placeholders

        with _shielded(), placeholders():
            self._loader.exec_module(module)
        adapt()


@contextmanager
def _shielded() -> Iterator[None]:
    """EasyEdit reseeds every generator and configures the root logger when imported; the user's stay as they were."""
    import warnings

    from easyedit_unlearn.environment import own_random_state

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with own_random_state(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its invalid escapes and deprecated imports are not the user's to mend
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)


def install() -> None:
    """Arm the finder once; adapt at once when EasyEdit was imported earlier."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
    loaded = sys.modules.get(PACKAGE)
    if loaded is not None and f"{PACKAGE}.editors.editor" in sys.modules:
        from easyedit_unlearn.host.adapt import adapt

        adapt()
