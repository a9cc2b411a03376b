"""Contracts every merger must meet before any weight is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.types import EditRequest, ForgetSample, Target


def check_requests(
    samples: Sequence[ForgetSample], targets: Sequence[Target], requests: Sequence[EditRequest], merger: str
) -> None:
    """Raise DataError when a sample is lost, doubled, unknown or edited to another target, or a subject does not stand
    in its prompt."""
    covered = Counter(sample_id for request in requests for sample_id in request.covers)
    wanted = Counter(sample.id for sample in samples)
    if covered != wanted:
        lost, extra = sorted((wanted - covered).elements()), sorted((covered - wanted).elements())
        raise DataError(f"query merger {merger!r} lost the samples {lost} and added {extra}")
    texts = {target.sample_id: target.text for target in targets}
    for request in requests:
        for sample_id in request.covers:
            if texts[sample_id] != request.target:
                raise DataError(
                    f"query merger {merger!r}: {sample_id!r} would be edited to {request.target!r}, but its target is "
                    f"{texts[sample_id]!r}; samples with different targets cannot share an edit"
                )
        for query in request.queries:
            if query.subject is not None and query.subject not in query.prompt:
                raise DataError(
                    f"query merger {merger!r}: subject {query.subject!r} does not stand in {query.prompt!r}"
                )
