"""Values of a YAML file against the dataclass of a method, strictly."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from easyedit_unlearn.errors import ConfigError, suggest


def check_fields(schema: type, config: dict[str, Any], file: str, trusted: bool) -> dict[str, Any]:
    """Values for the dataclass ``schema``: unknown and missing keys refused, types coerced as declared.

    EasyEdit's own declarations are not ``trusted``: its files give numbers and booleans where they say otherwise.
    """
    fields = {field.name: field for field in dataclasses.fields(schema) if field.init}
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    for key, value in config.items():
        if key not in fields:
            raise ConfigError(f"unknown key. {suggest(key, [*fields, 'unlearn'])}", file=file, key=key, value=value)
    for name in required:
        if name not in config:
            raise ConfigError(f"is missing; {config['alg_name']} needs {', '.join(required)}", file=file, key=name)
    hints = get_type_hints(schema, include_extras=True)
    return {key: _coerce(hints[key], key, value, file, trusted) for key, value in config.items()}


def _coerce(hint: Any, key: str, value: Any, file: str, trusted: bool) -> Any:
    # EasyEdit declares `device: int` and accepts "cpu"; it leaves declared keys empty; a model may be a pair.
    if key == "device" or (value is None and not trusted):
        return value
    if not trusted and isinstance(value, int | float) and hint in (int, float, str):
        return value
    if isinstance(value, bool) and getattr(hint, "__origin__", hint) in (int, float):  # also Annotated[float, ...]
        raise ConfigError("must be a number", file=file, key=key, value=value)
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError as error:
        raise ConfigError(error.errors()[0]["msg"], file=file, key=key, value=value) from None
