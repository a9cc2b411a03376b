"""Types of settings that methods share, and the keys of EasyEdit's that every method has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


@dataclass
class MethodHyperParams:
    """EasyEdit's keys, which every method has."""

    alg_name: str
    model_name: Any
    device: Any = field(default=0, metadata={"help": "CUDA index or 'cpu'; the CPU where there is no CUDA"})
    model_parallel: bool = False
    fp16: bool = False
    max_length: Count = field(default=512, metadata={"help": "longest text in EasyEdit's own evaluation, in tokens"})
    batch_size: Count = field(default=1, metadata={"help": "requests per call of BaseEditor.batch_edit"})


Layers = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
