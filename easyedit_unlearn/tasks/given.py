"""Samples that a call brings itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from easyedit_unlearn.components import Options, Task
from easyedit_unlearn.tasks.splits import Source
from easyedit_unlearn.types import ForgetSample


class GivenSamples(Task):
    """Samples that a call brings itself."""

    name, summary = "given", "GivenSamples in the call."

    def __init__(self, samples: Sequence[ForgetSample]) -> None:
        self._samples = list(samples)

    def samples(self, options: Any) -> Sequence[ForgetSample]:
        return self._samples

    @classmethod
    def source(cls, samples: Sequence[ForgetSample]) -> Source:
        return Source(cls(samples), Options(), "all")
