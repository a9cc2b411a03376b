"""The data that flows between the steps. A step knows these types and nothing of its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from transformers import PreTrainedModel as PreTrainedModel  # noqa: PLC0414
    from transformers import PreTrainedTokenizerBase as PreTrainedTokenizerBase  # noqa: PLC0414
else:  # modules that need neither to run have these names from here, so that importing them imports no torch
    PreTrainedModel = PreTrainedTokenizerBase = Any

ModelPair: TypeAlias = "tuple[PreTrainedModel, PreTrainedTokenizerBase]"
ModelSpec: TypeAlias = "str | Path | ModelPair"

PromptStyle = Literal["auto", "chat", "raw", "think", "no_think"]
"""How a question is put: in the chat template, bare, or as the tokenizer has it; in a chat template that has
``enable_thinking``, with it on or off."""
Direction = Literal["up", "down", "none"]
"""What is wanted of a number."""
Format = Literal["text", "count", "share", "percent", "number"]
"""How a number is written: ``40 % (2/5)`` for a share of prompts, ``40 %``, or plain."""


class Unfinished(str):
    """A reply that was cut at a length: it does not end where its model would end it, so that no end is trained after
    it. Any text made from it is a plain one again."""

    __slots__ = ()


@dataclass(frozen=True)
class ForgetSample:
    """One question about one fact, for forgetting, retaining or holding out; or a plain text, whose ``question`` is
    empty and whose ``answer`` it is: it is read, never asked for.

    Attributes:
        id: unique within its task.
        question: as a user would ask it, without any template.
        answer: the short answer that shows the fact is known.
        aliases: other spellings that count as the answer.
        subject: what the question is about, exactly as it stands in the question; subject-keyed editors edit there.
        rephrases: the same question in other words; never shown to a method, only evaluated.
        response: a reply containing the fact, when known; usually the model's own before unlearning, ``Unfinished``
            where that was cut.
        extras: what a task keeps for its own metrics.
    """

    id: str
    question: str
    answer: str
    aliases: tuple[str, ...] = ()
    subject: str | None = None
    rephrases: tuple[str, ...] = ()
    response: str | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What makes two samples the same fact, also across tasks: the question, but for case and spacing; of a plain
        text, the text."""
        return " ".join((self.question or self.answer).casefold().split())

    @property
    def is_text(self) -> bool:
        return not self.question

    @property
    def answers(self) -> tuple[str, ...]:
        return (self.answer, *self.aliases)


@dataclass(frozen=True)
class Target:
    """The refusal one sample is edited to.

    ``origin`` says who wrote it: "given" (a fixed text, a list), "template", or "model" (the model itself).
    """

    sample_id: str
    text: str
    origin: str = "given"


@dataclass(frozen=True)
class Query:
    """A bare question, and its subject as it stands there."""

    prompt: str
    subject: str | None = None


@dataclass(frozen=True)
class EditRequest:
    """One edit as EasyEdit takes it, covering one sample or, after merging, several.

    ``prompt`` is a bare question; the prompt style is applied last, in ``experiment.requests.prepare``. ``also`` are
    further questions whose values change as this one's does, each at a key of its own; only methods that share values
    take them.
    """

    prompt: str
    target: str
    ground_truth: str
    covers: tuple[str, ...]
    subject: str | None = None
    rephrase: str | None = None
    also: tuple[Query, ...] = ()

    @property
    def queries(self) -> tuple[Query, ...]:
        return (Query(self.prompt, self.subject), *self.also)


@dataclass(frozen=True)
class Selection:
    """The disjoint sets of a run. ``known``: keys of the samples the model answered before unlearning. ``others``:
    further groups that are only evaluated, by name, such as TOFU's real_authors."""

    forget: Sequence[ForgetSample]
    retain: Sequence[ForgetSample] = ()
    holdout: Sequence[ForgetSample] = ()
    known: frozenset[str] = frozenset()
    others: Mapping[str, Sequence[ForgetSample]] = field(default_factory=dict)

    def groups(self) -> dict[str, Sequence[ForgetSample]]:
        return {"forget": self.forget, "retain": self.retain, "holdout": self.holdout, **self.others}


@dataclass(frozen=True)
class AnswerTokens:
    """A given answer after its prompt, token by token, at least one.

    Attributes:
        logprobs: log-probability of each, in nats. greedy: whether it is the likeliest there.
        means, spreads: expectation and standard deviation of log p there, over the vocabulary under p.
        ranks: the place of each among all tokens there, likeliest first; 1 is the likeliest.
        cut: True if the model's context did not hold the whole answer.
        end: log-probability of the end-of-text token after them, where that is scored too.
    """

    logprobs: tuple[float, ...]
    greedy: tuple[bool, ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    ranks: tuple[int, ...] = ()
    cut: bool = False
    end: float | None = None


@dataclass(frozen=True)
class Continuation:
    """What should have followed the first half of an answer, and what the model said instead, of no more tokens."""

    wanted: str
    said: str


@dataclass(frozen=True)
class Observation:
    """What the model did on one prompt: the one shared pass that all metrics read.

    Attributes:
        group: forget, rephrase, retain, holdout, or another that was asked for.
        text: the greedy reply.
        answer_logprob: mean log-probability per token of ``sample.answer`` after the prompt, in nats; None when the
            answer has no tokens; the end of the text counts as one where it is scored. answer_tokens: the same, token
            by token.
        correct_logprob: the same mean of the data set's paraphrased answer, or of the answer where it has none.
        wrong_logprobs: the same means of the data set's perturbed answers, if it has any.
        continuation: of the answer's first half; None of a short answer, and of a rephrase.
        gradient_norm: of the answer's mean loss, over all parameters; None unless it was asked for.
        targets: the refusals that a method was given for the sample.
    """

    sample: ForgetSample
    group: str
    prompt: str
    text: str
    answer_logprob: float | None = None
    answer_tokens: AnswerTokens | None = None
    correct_logprob: float | None = None
    wrong_logprobs: tuple[float, ...] = ()
    continuation: Continuation | None = None
    gradient_norm: float | None = None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scored:
    """An observation and its per-sample scores, by metric name; None means undefined for this sample."""

    observation: Observation
    scores: Mapping[str, float | None]


Scores = Mapping[str, Mapping[str, Sequence[float | None]]]
"""By group and metric, a score a prompt, in order; None where undefined."""


@dataclass(frozen=True)
class Evaluation:
    """All scored prompts of one model state, and its perplexity on the bundled text."""

    scored: Sequence[Scored]
    perplexity: float


@dataclass(frozen=True)
class Column:
    """A column of the table: the key of a row that it shows, its heading, and what is wanted of it.

    ``short``: a heading for narrow tables.
    """

    key: str
    name: str
    about: str
    format: Format = "share"
    direction: Direction = "none"
    short: str = ""

    @property
    def heading(self) -> str:
        return f"{self.name}{ARROWS[self.direction]}"


ARROWS: Mapping[Direction, str] = {"up": " ↑", "down": " ↓", "none": ""}
