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
        import torch

        from easyedit_unlearn.baselines.data import ForgetRetainDataset, encode, encode_requests
        from easyedit_unlearn.baselines.losses import graddiff, mean_nll
        from easyedit_unlearn.baselines.trainer import Batch, train
        from easyedit_unlearn.evaluation.inference import answer_logits, answer_nll, pad_id

        def loss(model: Any, batch: Batch) -> torch.Tensor:
            logits = answer_logits(model, batch["input_ids"], batch["labels"], batch["attention_mask"])
            forget, retain = torch.stack(answer_nll(*logits)).chunk(2, dim=1)  # rows: sum of losses, token counts
            return graddiff(mean_nll(*forget), mean_nll(*retain), hparams.gamma, hparams.alpha)

        dataset = ForgetRetainDataset(
            encode_requests(tokenizer, requests), encode(tokenizer, retain), hparams.unlearn.seed
        )
        train(model, dataset, loss, hparams, pad_id=pad_id(tokenizer), stage=stage)
