"""The base of all gradient baselines: a method says which rows a step sees, what of the frozen model it must know, and
its loss. A new one is a subclass in a module of its own family, and a line in ``builtins.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from easyedit_unlearn.baselines.dataset import UnlearnDataset, encode_requests
from easyedit_unlearn.baselines.lora import adapters
from easyedit_unlearn.baselines.precision import check_memory
from easyedit_unlearn.baselines.rounds import still_given
from easyedit_unlearn.baselines.settings import BaselineHyperParams
from easyedit_unlearn.baselines.trainer import train_on_parts
from easyedit_unlearn.components import Job, Method
from easyedit_unlearn.errors import ConfigError
from easyedit_unlearn.model.lowrank import linear_modules
from easyedit_unlearn.model.prompting import encode
from easyedit_unlearn.model.structure import chosen_parameters, context_length
from easyedit_unlearn.model.weights import move
from easyedit_unlearn.types import PreTrainedModel

if TYPE_CHECKING:
    from torch import Tensor

    from easyedit_unlearn.baselines.answers import Answers
    from easyedit_unlearn.baselines.dataset import Part
    from easyedit_unlearn.baselines.frozen import Memory


class Baseline(Method):
    """Trains what :meth:`trains` names, by default everything, on a loss of answers; with ``rank``, adapters there.

    Attributes:
        parts: the rows of a training step (see ``dataset.Part``).
        remembers: of which parts the frozen model's log-probabilities, logits or hidden states are needed; computed
            once, beforehand.
    """

    HyperParams: ClassVar[type[BaselineHyperParams]]
    parts: ClassVar[tuple[Part, ...]]
    remembers: ClassVar[tuple[tuple[Part, Memory], ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.needs_retain = "retain" in cls.parts
        cls.uses_targets = any(part.endswith("refusal") for part in cls.parts)

    def departures(self, hparams: Any) -> list[str]:
        """A published baseline trains all weights, once, on whole replies."""
        found = ["fact"] * (hparams.answer_tokens == "fact") + ["rounds"] * (hparams.rounds > 1)
        if hparams.layers or hparams.target_modules:
            found.append("some weights")
        return found + ["LoRA"] * bool(hparams.rank)

    def trains(self, model: PreTrainedModel, hparams: Any) -> Iterable[str]:
        """The names of the parameters that are trained, or with ``rank`` adapted."""
        return chosen_parameters(model, hparams.layers, hparams.target_modules)

    def check(self, model: PreTrainedModel, hparams: Any) -> None:
        """Raise UnlearnError where what it trains does not fit into memory (adapters are small), ConfigError where
        the learning rate would never be reached."""
        if hparams.warmup_epochs > hparams.num_train_epochs:
            raise ConfigError(
                f"is more than num_train_epochs, {hparams.num_train_epochs}", key="warmup_epochs",
                value=hparams.warmup_epochs,
            )  # fmt: skip
        if not hparams.rank:
            smaller = "train a part of them (layers: [4, 5, 6], target_modules: [down_proj]) or adapters (rank: 8)"
            check_memory(model, frozenset(self.trains(model, hparams)), hparams.alg_name, smaller)

    def parameters(self, model: PreTrainedModel, hparams: Any) -> Iterable[str]:
        names = self.trains(model, hparams)
        return [f"{name}.weight" for name in self._adapted(model, hparams)] if hparams.rank else names

    def taken(self, hparams: Any) -> float:
        """By how much of what was learned the weights move."""
        return 1.0

    def watches(self, model: PreTrainedModel, hparams: Any) -> str | None:
        """The name of a layer whose outputs the loss is made of."""
        return None

    def start(self, hparams: Any) -> Callable[[Mapping[Part, Answers]], Tensor]:
        """A loss for one training. It may have a ``step_end()``, called after every optimiser step."""
        return lambda batch: self.loss(batch, hparams)

    def loss(self, batch: Mapping[Part, Answers], hparams: Any) -> Tensor:
        """The scalar to minimise, the mean over the batch's items; a method whose loss remembers has :meth:`start`."""
        raise NotImplementedError

    def apply(self, job: Job) -> None:
        """Train ``job.model`` in place, in ``rounds``: each starts from the model as it then is.

        Raises:
            DataError: a request does not say what to forget, or an answer has no tokens.
            DivergenceError: the loss is not finite, or the retain loss passes ``max_retain_nll``.
        """
        left, length = job.requests, job.hparams.unlearn.max_new_tokens
        for number in range(job.hparams.rounds):
            data = self._data(job, left)
            with self._moving(job) as names:
                self._train(job, data, names)
            if number + 1 < job.hparams.rounds:
                left = still_given(job.model, job.tokenizer, job.requests, length, job.progress)
            if not left:
                return

    def _data(self, job: Job, requests: Sequence[Mapping[str, Any]]) -> UnlearnDataset:
        tokenizer, longest = job.tokenizer, context_length(job.model)
        fact = job.hparams.answer_tokens == "fact"
        given: dict[Part, Any] = {}
        if "forget" in self.parts:
            given["forget"] = encode_requests(tokenizer, requests, longest, fact=fact)
        if self.uses_targets:
            given["refusal"] = encode(tokenizer, [(r["prompt"], r["target_new"]) for r in requests], longest)
        if self.needs_retain:
            replies = given.get("refusal", []) if "retain_refusal" in self.parts else []
            room = max((len(reply) for _, reply in replies), default=0)  # retain questions meet any of the refusals
            given["retain"] = encode(tokenizer, job.retain, longest, room, end=not fact)
        return UnlearnDataset(self.parts, given, job.hparams.unlearn.seed)

    def _train(self, job: Job, data: UnlearnDataset, names: frozenset[str]) -> None:
        train_on_parts(
            job.model, job.tokenizer, data, self.start(job.hparams), dict(self.remembers), job.hparams,
            progress=job.progress, layer=self.watches(job.model, job.hparams), names=names,
            precision=job.hparams.unlearn.native.products,
        )  # fmt: skip

    @contextmanager
    def _moving(self, job: Job) -> Iterator[frozenset[str]]:
        """Names to train within; afterwards the model's weights have moved by what was learned, ``taken`` times."""
        model, hparams = job.model, job.hparams
        taken = self.taken(hparams)
        if not hparams.rank:
            names = frozenset(self.trains(model, hparams))
            with move(model, names, taken):
                yield names
            return
        with adapters(model, self._adapted(model, hparams), hparams.rank, hparams.lora_alpha) as found:
            yield frozenset(name for name, _ in model.named_parameters() if "lora_" in name)
        found["found"].times(taken).add_to(model, job.state)

    def _adapted(self, model: Any, hparams: Any) -> list[str]:
        return linear_modules(model, self.trains(model, hparams))
