"""The bundled task: 126 common-knowledge questions written for this project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from easyedit_unlearn.components import Task
from easyedit_unlearn.tasks.records import read_file
from easyedit_unlearn.types import ForgetSample


class Facts(Task):
    """Capitals, authors, inventors, elements, landmarks and more, interleaved.

    Every prefix of the list spans the categories, so the facts that follow a forget split are its neighbours: other
    capitals, other authors. Settings may be tuned on this task; results are reported on others.
    """

    name = "facts"

    def samples(self, options: Any) -> Sequence[ForgetSample]:
        return read_file(Path(__file__).with_name("facts.jsonl"))
