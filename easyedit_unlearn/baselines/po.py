"""PO, preference optimisation in TOFU's sense: fine-tune to answer the forget set with refusals and the retain set as
before (TOFU, arXiv 2401.06121, section 4.1, "Preference Optimization"; elsewhere "IDK")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.baselines.hparams import BaselineHyperParams, NonNegative, Positive
from easyedit_unlearn.components import Method, Stage

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class POHyperParams(BaselineHyperParams):
    """``gamma`` weighs the refusals, ``alpha`` the retain set."""

    gamma: Positive = 1.0
    alpha: NonNegative = 1.0


class PO(Method):
    name = "PO"
    summary = "Fine-tuning on refusals, with the retain set as it was (arXiv 2401.06121)."
    needs_retain = True

    def hparams_class(self) -> type:
        return POHyperParams

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
        from easyedit_unlearn.baselines.data import encode
        from easyedit_unlearn.baselines.losses import preference
        from easyedit_unlearn.baselines.trainer import train_on_pairs

        refusals = encode(tokenizer, [(request["prompt"], request["target_new"]) for request in requests])

        def loss(refused: Any, kept: Any) -> Any:
            return preference(refused, kept, hparams.gamma, hparams.alpha)

        train_on_pairs(model, tokenizer, refusals, retain, loss, hparams, stage=stage)
