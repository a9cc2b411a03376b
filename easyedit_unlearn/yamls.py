"""YAML that somebody else wrote: no Python objects, and no more than it says."""

from __future__ import annotations

from typing import Any

import yaml

LARGEST = 100_000
"""Values of a document, each alias counted as often as it stands for something."""


def load_yaml(text: str) -> Any:
    """``yaml.safe_load``, but of a document that aliases blow up past ``LARGEST`` values (a few hundred bytes may stand
    for billions, which the first error message or merge would write out).

    Raises:
        ValueError: so it is, or an alias stands within what it stands for. yaml.YAMLError: it is not YAML.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and _size(root, {}) > LARGEST:
        raise ValueError(f"aliases make more than {LARGEST:,} values of it")
    return yaml.safe_load(text)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Of a node with all that it stands for; ``known``: of those seen, 0 while one is looked at."""
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError("an alias stands within what it stands for")
        return known[id(node)]
    known[id(node)] = 0
    within = node.value if isinstance(node, yaml.CollectionNode) else []
    parts = [part for one in within for part in (one if isinstance(one, tuple) else (one,))]
    known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
