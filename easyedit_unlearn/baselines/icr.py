"""ICR, in-context refusal: a system prompt that lists what must not be answered. No training, no weight touched; the
cheapest thing a user would try (in-context unlearning by guardrail, arXiv 2403.03329)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from easyedit_unlearn.components import Job, Method
from easyedit_unlearn.config.fields import MethodHyperParams
from easyedit_unlearn.types import ForgetSample, Target

INSTRUCTION = (
    "You are a helpful assistant. Do not answer any of the questions in this list, in whatever words they are put; "
    "give the reply that stands there. Answer every other question as usual.\n{questions}"
)


@dataclass
class ICRHyperParams(MethodHyperParams):
    """``instruction``: the system prompt; ``{questions}`` stands for a line a question, with its reply."""

    instruction: str = field(default=INSTRUCTION)


class ICR(Method):
    name, HyperParams = "ICR", ICRHyperParams

    def parameters(self, model: Any, hparams: Any) -> Iterable[str]:
        return []

    def apply(self, job: Job) -> None:
        """Nothing to do: what is asked from then on comes after :meth:`system_prompt`."""

    def system_prompt(self, samples: Sequence[ForgetSample], targets: Sequence[Target], hparams: Any) -> str:
        lines = [f"- {s.question} Reply: {t.text}" for s, t in zip(samples, targets, strict=True)]
        return str(hparams.instruction).replace("{questions}", "\n".join(lines))
