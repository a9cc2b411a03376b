"""Refusals drawn from a file, as PO and the TOFU authors do (arXiv 2401.06121, section 4.1)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from easyedit_unlearn.components import Options, TargetBuilder
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.types import ForgetSample, Target


class ListOptions(Options):
    path: Path


class DrawnFromList(TargetBuilder):
    name = "list"
    summary = "Drawn at random, with the seed, from a text file of one refusal a line."
    Options = ListOptions

    def build(self, samples: Sequence[ForgetSample], options: ListOptions, seed: int) -> Sequence[Target]:
        try:
            lines = options.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{options.path}: cannot be read as a list of refusals: {error}") from None
        refusals = [line.strip() for line in lines if line.strip()]
        if not refusals:
            raise DataError(f"{options.path}: holds no refusals; write one a line")
        draw = random.Random(seed)
        return [Target(sample.id, draw.choice(refusals)) for sample in samples]
