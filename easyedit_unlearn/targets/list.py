"""Refusals drawn from a list, as PO and the TOFU authors do (arXiv 2401.06121, section 4.1)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from easyedit_unlearn.components import BuildContext, Options, TargetBuilder
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.types import ForgetSample, Target


class ListOptions(Options):
    path: Path


class DrawnFromList(TargetBuilder):
    name = "list"
    Options = ListOptions

    def build(self, samples: Sequence[ForgetSample], options: ListOptions, context: BuildContext) -> Sequence[Target]:
        return drawn(samples, read_refusals(options.path), context.seed)

    def build_groups(
        self, groups: Sequence[Sequence[ForgetSample]], options: ListOptions, context: BuildContext
    ) -> Sequence[Target]:
        return drawn_together(groups, read_refusals(options.path), context.seed)


class IDK(TargetBuilder):
    name = "idk"

    def build(self, samples: Sequence[ForgetSample], options: Options, context: BuildContext) -> Sequence[Target]:
        return drawn(samples, read_refusals(Path(__file__).with_name("idk.txt")), context.seed)

    def build_groups(
        self, groups: Sequence[Sequence[ForgetSample]], options: Options, context: BuildContext
    ) -> Sequence[Target]:
        return drawn_together(groups, read_refusals(Path(__file__).with_name("idk.txt")), context.seed)


def drawn(samples: Sequence[ForgetSample], refusals: Sequence[str], seed: int) -> list[Target]:
    """A refusal for each sample that depends on the seed and that sample alone, not on what else is forgotten."""
    return [Target(sample.id, random.Random(f"{seed}/{sample.key}").choice(refusals)) for sample in samples]


def drawn_together(groups: Sequence[Sequence[ForgetSample]], refusals: Sequence[str], seed: int) -> list[Target]:
    """One for each group, as its first sample has it alone."""
    first = drawn([group[0] for group in groups], refusals, seed)
    return [replace(one, sample_id=s.id) for group, one in zip(groups, first, strict=True) for s in group]


def read_refusals(path: Path) -> list[str]:
    """One a line. Raises DataError when the file cannot be read or holds none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of refusals: {error}") from None
    refusals = [line.strip() for line in lines if line.strip()]
    if not refusals:
        raise DataError(f"{path}: holds no refusals; write one a line")
    return refusals
