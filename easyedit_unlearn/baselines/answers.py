"""What a model says of the answers in a batch: answer tokens only, whatever the padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from easyedit_unlearn.baselines.losses import mean_nll
from easyedit_unlearn.model.inference import IGNORED


@dataclass(frozen=True)
class Answers:
    """One part of a batch: forget items, retain items, ...

    Attributes:
        logits: (tokens, vocabulary) that predict each answer token, item after item, float32 at least.
        labels: (tokens,) those tokens. rows: (tokens,) the item each belongs to. items: how many there are.
        reference: what the frozen model made of the same answers: (items,) log-probabilities, (tokens, vocabulary)
            logits, or (tokens, d_model) hidden states; None for a method that needs none.
        hidden: (tokens, d_model) of the layer that the method watches, at the answer tokens themselves; else None.
    """

    logits: Tensor
    labels: Tensor
    rows: Tensor
    items: int
    reference: Tensor | None = None
    hidden: Tensor | None = None

    @classmethod
    def of(
        cls, logits: Tensor, labels: Tensor, reference: Tensor | None = None, hidden: Tensor | None = None
    ) -> Answers:
        """From logits (items, span, vocabulary), position t predicting token t+1, labels (items, span), ``IGNORED``
        where there is no answer and not shifted, and hidden states (items, length, d_model) whose last positions are
        the span's."""
        if logits.shape[:2] != labels.shape:
            raise ValueError(f"logits {tuple(logits.shape)} do not match labels {tuple(labels.shape)}")
        labels = labels[:, 1:]
        answered = labels != IGNORED
        chosen = logits[:, :-1][answered]
        chosen = chosen.float() if chosen.dtype in (torch.float16, torch.bfloat16) else chosen
        if hidden is not None:
            span = hidden[:, hidden.shape[1] - labels.shape[1] :]
            hidden = span[answered.to(span.device)].float().to(labels.device)  # layers may lie on several devices
        return cls(chosen, labels[answered], answered.nonzero()[:, 0], len(labels), reference, hidden)

    @property
    def nll(self) -> Tensor:
        """(tokens,) l_t, in nats."""
        return cross_entropy(self.logits, self.labels, reduction="none")

    @property
    def logprob(self) -> Tensor:
        """(items,) log pi(y), in nats."""
        return -self._sum(self.nll)

    @property
    def mean_logprob(self) -> Tensor:
        """(items,) log pi(y) / |y|, in nats per token."""
        return self.logprob / self._count.clamp(min=1)

    @property
    def mean_nll(self) -> Tensor:
        """A scalar, as :func:`losses.mean_nll`."""
        return mean_nll(-self.logprob, self._count)

    def mean(self, terms: Tensor) -> Tensor:
        """The mean of (tokens,) terms over each item's tokens, then over items."""
        return mean_nll(self._sum(terms), self._count)

    @property
    def watched(self) -> Tensor:
        """``hidden``, which must be there."""
        if self.hidden is None:
            raise ValueError("the loss needs hidden states: name their layer in Baseline.watches")
        return self.hidden

    @property
    def frozen(self) -> Tensor:
        """``reference``, which must be there, in float32 at least."""
        if self.reference is None:
            raise ValueError("the loss needs the frozen model's view of this part: name it in Baseline.remembers")
        half = self.reference.dtype in (torch.float16, torch.bfloat16)
        return self.reference.float() if half else self.reference

    @property
    def _count(self) -> Tensor:
        return torch.bincount(self.rows, minlength=self.items)

    def _sum(self, terms: Tensor) -> Tensor:
        return terms.new_zeros(self.items).index_add(0, self.rows, terms)
