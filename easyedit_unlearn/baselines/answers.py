"""What a model says of the answers in a batch: answer tokens only, whatever the padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import cross_entropy

from easyedit_unlearn.baselines.losses import mean_nll
from easyedit_unlearn.model.inference import IGNORED


@dataclass(frozen=True)
class Answers:
    """One part of a batch: forget items, retain items, ...

    Attributes:
        logits: what predicts each answer token, item after item, float32 at least.
        labels: those tokens. rows: the item each belongs to. items: how many there are.
        reference: what the frozen model made of the same answers: (items,) log-probabilities, (tokens, vocabulary)
            logits, or (tokens, d_model) hidden states; None for a method that needs none.
        hidden: of the layer that the method watches, at the answer tokens themselves; else None.
    """

    logits: Float[Tensor, "tokens vocabulary"]
    labels: Int[Tensor, " tokens"]
    rows: Int[Tensor, " tokens"]
    items: int
    reference: Shaped[Tensor, ...] | None = None
    hidden: Float[Tensor, "tokens d_model"] | None = None

    @classmethod
    def of(
        cls,
        logits: Float[Tensor, "items span vocabulary"],
        labels: Int[Tensor, "items span"],
        reference: Shaped[Tensor, ...] | None = None,
        hidden: Float[Tensor, "items length d_model"] | None = None,
    ) -> Answers:
        """From logits, position t predicting token t+1, labels, ``IGNORED`` where there is no answer and not shifted,
        and hidden states whose last positions are the span's."""
        if logits.shape[:2] != labels.shape:
            raise ValueError(f"logits {tuple(logits.shape)} do not match labels {tuple(labels.shape)}")
        labels = labels[:, 1:]
        answered = labels != IGNORED
        chosen = _single(logits[:, :-1][answered])
        if hidden is not None:
            span = hidden[:, hidden.shape[1] - labels.shape[1] :]
            hidden = _single(span[answered.to(span.device)]).to(labels.device)  # layers may lie on several devices
        return cls(chosen, labels[answered], answered.nonzero()[:, 0], len(labels), reference, hidden)

    @property
    def nll(self) -> Float[Tensor, " tokens"]:
        """l_t, in nats."""
        return cross_entropy(self.logits, self.labels, reduction="none")

    @property
    def logprob(self) -> Float[Tensor, " items"]:
        """log pi(y), in nats."""
        return -self._sum(self.nll)

    @property
    def mean_logprob(self) -> Float[Tensor, " items"]:
        """log pi(y) / |y|, in nats per token."""
        return self.logprob / self._count.clamp(min=1)

    @property
    def mean_nll(self) -> Float[Tensor, ""]:
        """As :func:`losses.mean_nll`."""
        return mean_nll(-self.logprob, self._count)

    def mean(self, terms: Float[Tensor, " tokens"]) -> Float[Tensor, ""]:
        """The mean of terms over each item's tokens, then over items."""
        return mean_nll(self._sum(terms), self._count)

    def without_first(self, count: int) -> Answers:
        """Without each item's first ``count`` answer tokens; what belongs to tokens goes with them."""
        if not count:
            return self
        first = torch.searchsorted(self.rows, torch.arange(self.items, device=self.rows.device))
        later = torch.arange(len(self.rows), device=self.rows.device) - first[self.rows] >= count
        by_token = self.reference is not None and self.reference.dim() > 1
        return Answers(
            self.logits[later], self.labels[later], self.rows[later], self.items,
            self.reference[later] if by_token and self.reference is not None else self.reference,
            None if self.hidden is None else self.hidden[later],
        )  # fmt: skip

    @property
    def watched(self) -> Float[Tensor, "tokens d_model"]:
        """``hidden``, which must be there."""
        if self.hidden is None:
            raise ValueError("the loss needs hidden states: name their layer in Baseline.watches")
        return self.hidden

    @property
    def frozen(self) -> Float[Tensor, ...]:
        """``reference``, which must be there, in float32 at least."""
        if self.reference is None:
            raise ValueError("the loss needs the frozen model's view of this part: name it in Baseline.remembers")
        return _single(self.reference)

    @property
    def _count(self) -> Int[Tensor, " items"]:
        return torch.bincount(self.rows, minlength=self.items)

    def _sum(self, terms: Float[Tensor, " tokens"]) -> Float[Tensor, " items"]:
        return terms.new_zeros(self.items).index_add(0, self.rows, terms)


def _single(values: Tensor) -> Tensor:
    """In single precision at least."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
