"""GradDiff: gradient ascent on what to forget, descent on what to retain (TOFU, arXiv 2401.06121, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.baselines.hparams import BaselineHyperParams, NonNegative, Positive
from easyedit_unlearn.components import Method, Stage

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class GradDiffHyperParams(BaselineHyperParams):
    """``gamma`` weighs the ascent on the forget set, ``alpha`` the descent on the retain set."""

    gamma: Positive = 1.0
    alpha: NonNegative = 1.0


class GradDiff(Method):
    name = "GradDiff"
    summary = "Gradient ascent on the forget set, descent on the retain set (arXiv 2401.06121)."
    needs_retain = True
    uses_targets = False

    def hparams_class(self) -> type:
        return GradDiffHyperParams

    def apply(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        requests: Sequence[Mapping[str, Any]],
        hparams: Any,
        *,
        retain: Sequence[tuple[str, str]],
        stage: Stage,
    ) -> None:
        from easyedit_unlearn.baselines.data import encode_requests
        from easyedit_unlearn.baselines.losses import graddiff
        from easyedit_unlearn.baselines.trainer import train_on_pairs

        def loss(forget: Any, kept: Any) -> Any:
            return graddiff(forget, kept, hparams.gamma, hparams.alpha)

        train_on_pairs(model, tokenizer, encode_requests(tokenizer, requests), retain, loss, hparams, stage=stage)
