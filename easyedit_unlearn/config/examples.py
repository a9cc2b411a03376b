"""Questions with good refusals, which a model is shown: for ``self_improve``, and for LUNAR's refusal direction."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.judging import is_refusal
from easyedit_unlearn.yamls import load_yaml

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Example(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    question: Text
    refusal: Text


class Examples(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    instruction: Text
    examples: list[Example] = Field(min_length=1)


def read_examples(path: Path | None) -> Examples:
    """The bundled examples, or a user's file. Raises DataError naming the file and what is wrong with it."""
    path = path or Path(__file__).with_name("examples.yaml")
    try:
        given = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # PyYAML itself raises ValueError for dates
        raise DataError(f"{path}: cannot be read as examples: {' '.join(str(error).split())}") from None
    try:
        examples = Examples.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {where}: {first['msg']}; see config/examples.yaml for the form") from None
    for example in examples.examples:
        if not is_refusal(example.refusal):
            raise DataError(f"{path}: {example.refusal!r} is not recognised as a refusal; begin with 'I can't ...'")
    return examples
