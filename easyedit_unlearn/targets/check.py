"""Contracts every target must meet before any weight is touched."""

from __future__ import annotations

from collections.abc import Sequence

from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.judging import contains_answer
from easyedit_unlearn.types import ForgetSample, Target


def check_targets(
    samples: Sequence[ForgetSample], targets: Sequence[Target], builder: str, *, may_be_empty: bool = False
) -> None:
    """Raise DataError unless there is one target a sample, in order, none blank, none giving its answer away."""
    expected, got = [sample.id for sample in samples], [target.sample_id for target in targets]
    if expected != got:
        raise DataError(f"target builder {builder!r} returned targets for {got}, expected one each for {expected}")
    for sample, target in zip(samples, targets, strict=True):
        if not target.text.strip() and not (may_be_empty and target.text == ""):
            raise DataError(f"target builder {builder!r} returned a blank target for {sample.id!r}")
        if contains_answer(target.text, sample.answers):
            raise DataError(
                f"target builder {builder!r}: the target {target.text!r} for {sample.id!r} gives away the answer "
                f"{sample.answer!r}; a refusal may not contain what it hides"
            )
