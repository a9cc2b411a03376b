"""The query mergers: several forget queries that share a refusal become one edit (arXiv 2505.19855)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from easyedit_unlearn.components import Options, QueryMerger
from easyedit_unlearn.merging.grouping import Grouping, concatenated, grouped, same_subject, sharing, single
from easyedit_unlearn.types import EditRequest, ForgetSample, Target

Samples = Sequence[ForgetSample]
Targets = Sequence[Target]


class GroupOptions(Options):
    size: int = Field(default=5, ge=1)
    grouping: Grouping = "order"


class PositionOptions(Options):
    """``position``: whose subject the request takes, the first question's or the last's. Where in it the key is read is
    the editor's own ``fact_token`` (``last`` for the end of the prompt)."""

    position: Literal["first", "last"] = "last"


class ConcatOptions(GroupOptions, PositionOptions):
    pass


class NoMerging(QueryMerger):
    name = "none"

    def merge(self, samples: Samples, targets: Targets, options: Options) -> Sequence[EditRequest]:
        return [single(sample, target) for sample, target in zip(samples, targets, strict=True)]


class Concat(QueryMerger):
    name = "concat"
    Options = ConcatOptions

    def merge(self, samples: Samples, targets: Targets, options: ConcatOptions) -> Sequence[EditRequest]:
        groups = grouped(list(zip(samples, targets, strict=True)), options.size, options.grouping)
        return [concatenated(group, self.name, options.position) for group in groups]


class BySubject(QueryMerger):
    name = "by_subject"
    needs_subject = True
    Options = PositionOptions

    def merge(self, samples: Samples, targets: Targets, options: PositionOptions) -> Sequence[EditRequest]:
        groups = same_subject(list(zip(samples, targets, strict=True)))
        return [concatenated(group, self.name, options.position) for group in groups]


class SharedValue(QueryMerger):
    name = "shared_value"
    Options = GroupOptions

    def merge(self, samples: Samples, targets: Targets, options: GroupOptions) -> Sequence[EditRequest]:
        groups = grouped(list(zip(samples, targets, strict=True)), options.size, options.grouping)
        return [sharing(group, self.name) for group in groups]
