"""Losses that treat each answer token by itself: WGA, SatImp, CEU and UNDIAL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from easyedit_unlearn.baselines.baseline import Baseline
from easyedit_unlearn.baselines.losses import ceu_terms, satimp_terms, undial_terms, wga_terms
from easyedit_unlearn.baselines.settings import WeightedHyperParams
from easyedit_unlearn.config.fields import NonNegative, Positive
from easyedit_unlearn.errors import ConfigError


class _TokenBaseline(Baseline):
    """``gamma`` times a mean of terms, one a token of what to forget, and ``alpha`` times the retain set's NLL."""

    parts = ("forget", "retain")

    @abstractmethod
    def terms(self, forget: Any, hparams: Any) -> Any:
        """(tokens,)."""

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        forget = batch["forget"]
        return hparams.gamma * forget.mean(self.terms(forget, hparams)) + hparams.alpha * batch["retain"].mean_nll


@dataclass
class WGAHyperParams(WeightedHyperParams):
    """``beta``: how much less the tokens count that are unlikely already."""

    beta: NonNegative = 1.0


class WGA(_TokenBaseline):
    name = "WGA"
    HyperParams = WGAHyperParams

    def terms(self, forget: Any, hparams: Any) -> Any:
        return wga_terms(forget.nll, hparams.beta)


@dataclass
class SatImpHyperParams(WeightedHyperParams):
    """``beta1`` weighs tokens by saturation, p, and ``beta2`` by importance, 1 - p."""

    beta1: NonNegative = 5.0
    beta2: NonNegative = 1.0


class SatImp(_TokenBaseline):
    name = "SatImp"
    HyperParams = SatImpHyperParams

    def terms(self, forget: Any, hparams: Any) -> Any:
        return satimp_terms(forget.nll, hparams.beta1, hparams.beta2)


@dataclass
class CEUHyperParams(WeightedHyperParams):
    """The paper has no retain term, and leaves an answer's first token alone (its "Training Settings", a footnote)."""

    alpha: NonNegative = 0.0
    ignore_first_n_answer_tokens: Annotated[int, Field(ge=0)] = 1


class CEU(_TokenBaseline):
    name = "CEU"
    HyperParams = CEUHyperParams

    def terms(self, forget: Any, hparams: Any) -> Any:
        return ceu_terms(forget.logits, forget.labels)

    def departures(self, hparams: Any) -> list[str]:
        first = ["first token"] * (not hparams.ignore_first_n_answer_tokens)
        return super().departures(hparams) + ["retain"] * bool(hparams.alpha) + first

    def _data(self, job: Any, requests: Any) -> Any:
        data, left_out = super()._data(job, requests), job.hparams.ignore_first_n_answer_tokens
        for request, (_, reply) in zip(requests, data.given["forget"], strict=True):
            if len(reply) <= left_out:
                raise ConfigError(
                    f"leaves nothing to forget of {request['prompt']!r}, whose answer has {len(reply)} tokens; give 0",
                    key="ignore_first_n_answer_tokens", value=left_out,
                )  # fmt: skip
        return data

    def loss(self, batch: Mapping[Any, Any], hparams: Any) -> Any:
        later = batch["forget"].without_first(hparams.ignore_first_n_answer_tokens)
        return super().loss({**batch, "forget": later}, hparams)


@dataclass
class UNDIALHyperParams(WeightedHyperParams):
    """``beta``: by how much the frozen model's logit of the true token is lowered. The paper has no retain term, and
    trains adapters (``rank`` 8, ``lora_alpha`` 16) at 1e-4."""

    alpha: NonNegative = 0.0
    beta: Positive = 10.0


class UNDIAL(_TokenBaseline):
    name = "UNDIAL"
    HyperParams = UNDIALHyperParams
    remembers = (("forget", "logits"),)

    def departures(self, hparams: Any) -> list[str]:
        """The published one trains adapters, without a retain term."""
        usual = [word for word in super().departures(hparams) if word != "LoRA"]
        whole = not hparams.rank and "some weights" not in usual
        return usual + ["all weights"] * whole + ["retain"] * bool(hparams.alpha)

    def terms(self, forget: Any, hparams: Any) -> Any:
        return undial_terms(forget.logits, forget.labels, forget.frozen, hparams.beta)
