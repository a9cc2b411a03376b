"""What of a method's settings is searched for a model, told by the keys that its file has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.model.structure import layer_names


@dataclass(frozen=True)
class Choice:
    """One number to be searched: where it begins, its bounds, whether in logarithms, and what it sets."""

    start: float
    low: float
    high: float
    log: bool
    sets: Callable[[float], dict[str, Any]]


def search_space(values: Mapping[str, Any], model: Any) -> dict[str, Choice]:
    """What is searched, told by the keys that a method's file has.

    Args:
        values: the derived file. model: whose layers there are.
    """
    native = (values.get("unlearn") or {}).get("native") or {}
    found = _layers(values, model)
    for key, (factor, log) in _FREE.items():
        if isinstance(values.get(key), int | float | str) and _number(values[key]):
            found[key] = _around(key, _number(values[key]), factor, log)
    for key, (factor, log) in _NATIVE.items():
        if key in native:
            found[key] = _around(
                f"unlearn.native.{key}", float(native[key]), factor, log, whole=isinstance(native[key], int)
            )
    return found


_FREE = {
    "v_lr": (4.0, True), "clamp_norm_factor": (3.0, True), "L2": (30.0, True), "mom2_update_weight": (30.0, True),
    "edit_lr": (4.0, True), "eps": (4.0, True), "act_ratio": (1.2, False), "learning_rate": (10.0, True),
    "alpha": (5.0, True), "beta": (4.0, True), "gamma": (4.0, True), "coeff": (3.0, True),
    "retain_weight": (10.0, True), "corpus_weight": (10.0, True), "steering_coeff": (6.0, True),
}  # fmt: skip
"""Keys that are searched: by how many times more or less than where they begin, and whether in logarithms."""
_NATIVE = {
    "retain_weight": (10.0, True), "null_space_dimensions": (1.8, False), "value_lr": (4.0, True),
    "value_clamp": (3.0, True),
}  # fmt: skip


def _number(value: Any) -> float:
    try:
        return 0.0 if isinstance(value, bool) else float(value)
    except ValueError:
        return 0.0


def _around(key: str, start: float, factor: float, log: bool, *, whole: bool = False) -> Choice:
    def sets(value: float) -> dict[str, Any]:
        return {key: round(value) if whole else float(f"{value:.3g}")}

    high = min(start * factor, 0.99) if key == "act_ratio" else start * factor
    return Choice(start, start / factor, high, log, sets)


def _layers(values: Mapping[str, Any], model: Any) -> dict[str, Choice]:
    """Where: the last layer by depth, and how many before it."""
    depth = len(layer_names(model))

    def near(value: float) -> int:
        return max(0, min(depth - 1, round(value)))

    if isinstance(values.get("layers"), list):
        count, last = len(values["layers"]), max(values["layers"])
        place = Choice(last, 0, depth - 1, False, lambda value: {"layers": _up_to(near(value), count)})
        return {"last_layer": place}
    if isinstance(values.get("layer"), int):
        return {"layer": Choice(values["layer"], 0, depth - 1, False, lambda value: {"layer": near(value)})}
    if isinstance(values.get("inner_params"), list):
        path = values["inner_params"][0]
        start = int(re.findall(r"\[(\d+)\]", path)[0])

        def beside(value: float) -> dict[str, Any]:
            return {"inner_params": [re.sub(r"\[\d+\]", f"[{near(value)}]", path, count=1)]}

        return {"layer": Choice(start, 0, depth - 1, False, beside)}
    return {}


def _up_to(last: int, count: int) -> list[int]:
    return list(range(max(0, last - count + 1), last + 1))
