"""The query mergers: several forget queries that share a refusal become one edit (arXiv 2505.19855)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

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


class SharedOptions(GroupOptions):
    """``together``: the value is also found, and its key solved for, where all questions are one prompt."""

    together: bool = False


class AutoOptions(Options):
    """``alike``: the mean cosine of keys from which on questions share a value. ``groups``: the ids of samples that do,
    which are looked up where none are given (``experiment.alike``)."""

    alike: float = Field(default=0.8, ge=-1, le=1)
    groups: tuple[tuple[str, ...], ...] = ()


class NoMerging(QueryMerger):
    name = "none"

    def merge(self, samples: Samples, targets: Targets, options: Options) -> Sequence[EditRequest]:
        return [single(sample, target) for sample, target in zip(samples, targets, strict=True)]


class _Merging(QueryMerger):
    """A request for each of the groups."""

    def merge(self, samples: Samples, targets: Targets, options: Any) -> Sequence[EditRequest]:
        by_id = {target.sample_id: target for target in targets}
        return [self.request(group, by_id, options) for group in self.groups(samples, options)]

    @abstractmethod
    def request(self, group: Samples, targets: Mapping[str, Target], options: Any) -> EditRequest: ...


class Concat(_Merging):
    name = "concat"
    Options = ConcatOptions

    def groups(self, samples: Samples, options: ConcatOptions) -> Sequence[Samples]:
        return grouped(samples, options.size, options.grouping)

    def request(self, group: Samples, targets: Mapping[str, Target], options: ConcatOptions) -> EditRequest:
        return concatenated(group, targets, self.name, options.position)


class BySubject(_Merging):
    name = "by_subject"
    needs_subject = True
    Options = PositionOptions

    def groups(self, samples: Samples, options: PositionOptions) -> Sequence[Samples]:
        return same_subject(samples)

    def request(self, group: Samples, targets: Mapping[str, Target], options: PositionOptions) -> EditRequest:
        return concatenated(group, targets, self.name, options.position)


class SharedValue(_Merging):
    name = "shared_value"
    Options = SharedOptions

    def groups(self, samples: Samples, options: SharedOptions) -> Sequence[Samples]:
        return grouped(samples, options.size, options.grouping)

    def request(self, group: Samples, targets: Mapping[str, Target], options: SharedOptions) -> EditRequest:
        return sharing(group, targets, self.name, together=options.together)


class Auto(QueryMerger):
    """Questions whose keys are all but one share a value: one key can be mapped to one value alone."""

    name = "auto"
    Options = AutoOptions

    def groups(self, samples: Samples, options: AutoOptions) -> Sequence[Samples]:
        group_of = {sample_id: number for number, ids in enumerate(options.groups) for sample_id in ids}
        found: dict[Any, list[ForgetSample]] = {}
        for sample in samples:
            found.setdefault(group_of.get(sample.id, sample.id), []).append(sample)
        return list(found.values())

    def merge(self, samples: Samples, targets: Targets, options: AutoOptions) -> Sequence[EditRequest]:
        """Of a group whose refusals differ, those with one refusal each."""
        by_id = {target.sample_id: target for target in targets}
        requests = []
        for group in self.groups(samples, options):
            texts: dict[str, list[ForgetSample]] = {}
            for sample in group:
                texts.setdefault(by_id[sample.id].text, []).append(sample)
            requests += [sharing(one, by_id, self.name) for one in texts.values()]
        return requests
