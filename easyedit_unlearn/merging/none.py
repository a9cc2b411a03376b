"""No merging: every sample is an edit of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from easyedit_unlearn.components import QueryMerger
from easyedit_unlearn.types import EditRequest, ForgetSample, Target


class NoMerging(QueryMerger):
    name = "none"
    summary = "One edit request a sample."

    def merge(self, samples: Sequence[ForgetSample], targets: Sequence[Target], options: Any) -> Sequence[EditRequest]:
        return [
            EditRequest(
                prompt=sample.question,
                target=target.text,
                ground_truth=sample.response or sample.answer,
                covers=(sample.id,),
                subject=sample.subject,
                rephrase=sample.rephrases[0] if sample.rephrases else None,
            )
            for sample, target in zip(samples, targets, strict=True)
        ]
