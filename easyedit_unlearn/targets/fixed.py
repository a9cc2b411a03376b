"""One refusal sentence for every fact."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from easyedit_unlearn.components import BuildContext, Options, TargetBuilder
from easyedit_unlearn.types import ForgetSample, Target

DEFAULT_REFUSAL = "I'm sorry, but I can't help with that."


class FixedOptions(Options):
    text: str = Field(default=DEFAULT_REFUSAL, min_length=1)


class Fixed(TargetBuilder):
    name = "fixed"
    summary = f"One sentence for all, by default {DEFAULT_REFUSAL!r}"
    Options = FixedOptions

    def build(self, samples: Sequence[ForgetSample], options: FixedOptions, context: BuildContext) -> Sequence[Target]:
        return [Target(sample.id, options.text) for sample in samples]
