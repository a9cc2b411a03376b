"""Contracts every merger must meet before any weight is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.types import EditRequest, ForgetSample


def check_requests(samples: Sequence[ForgetSample], requests: Sequence[EditRequest], merger: str) -> None:
    """Raise DataError when a sample is lost, doubled or unknown, or a subject does not stand in its prompt."""
    covered = Counter(sample_id for request in requests for sample_id in request.covers)
    wanted = Counter(sample.id for sample in samples)
    if covered != wanted:
        lost, extra = sorted((wanted - covered).elements()), sorted((covered - wanted).elements())
        raise DataError(f"query merger {merger!r} lost the samples {lost} and added {extra}")
    for request in requests:
        if request.subject is not None and request.subject not in request.prompt:
            raise DataError(
                f"query merger {merger!r}: subject {request.subject!r} does not stand in {request.prompt!r}"
            )
