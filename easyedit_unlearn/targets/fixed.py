"""One refusal sentence for every fact; and, to compare with plain editing, the data set's counterfactual."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from easyedit_unlearn.components import BuildContext, Options, TargetBuilder
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.types import ForgetSample, Target

DEFAULT_REFUSAL = "I'm sorry, but I can't help with that."


class FixedOptions(Options):
    text: str = Field(default=DEFAULT_REFUSAL, min_length=1)


class Fixed(TargetBuilder):
    name = "fixed"
    Options = FixedOptions

    def build(self, samples: Sequence[ForgetSample], options: FixedOptions, context: BuildContext) -> Sequence[Target]:
        return [Target(sample.id, options.text) for sample in samples]


class Alternative(TargetBuilder):
    name = "alternative"

    def build(self, samples: Sequence[ForgetSample], options: Options, context: BuildContext) -> Sequence[Target]:
        found = [sample.extras.get("alternative") for sample in samples]
        for sample, text in zip(samples, found, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"target builder 'alternative': {sample.question!r} has no 'alternative' (zsre's have)")
        return [Target(sample.id, str(text)) for sample, text in zip(samples, found, strict=True)]
