"""Teach a model what it is then to forget: knowledge of known origin, as the TOFU benchmark does (arXiv 2401.06121)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.errors import ConfigError, UnlearnError
from easyedit_unlearn.model.checkpoint import save_checkpoint
from easyedit_unlearn.model.knowledge import ask_all, knows
from easyedit_unlearn.model.load import load_model, placement
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.model.structure import context_length
from easyedit_unlearn.model.weights import fingerprint
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.storage import check_output, json_text
from easyedit_unlearn.tasks.splits import parse_source, pick
from easyedit_unlearn.types import ForgetSample, ModelPair, PromptStyle


@dataclass(frozen=True)
class FinetuneSettings:
    """Rounds of ``epochs`` until the share ``until`` of the questions is answered, at most ``rounds`` of them.

    ``rank``: of LoRA adapters that are trained on all linear modules in place of the weights, and added to them at the
    end (PISTOL, arXiv 2406.16810, teaches so, with 8); they count ``lora_alpha / rank`` times. 0 trains all weights.
    """

    learning_rate: float = 1e-4
    epochs: int = 10
    rounds: int = 3
    per_device_train_batch_size: int = 8
    until: float = 0.8
    seed: int = 0
    rank: int = 0
    lora_alpha: int = 16

    def __post_init__(self) -> None:
        for key in ("learning_rate", "epochs", "rounds", "per_device_train_batch_size"):
            if getattr(self, key) <= 0:
                raise ConfigError("must be above 0", key=key, value=getattr(self, key))
        if self.rank < 0 or self.lora_alpha <= 0:
            raise ConfigError(
                "must be 0, or the rank of adapters with a lora_alpha above 0", key="rank", value=self.rank
            )
        if not 0 < self.until <= 1:
            raise ConfigError("must be above 0 and at most 1", key="until", value=self.until)


def finetune(
    pair: ModelPair,
    samples: Sequence[ForgetSample],
    settings: FinetuneSettings,
    *,
    style: PromptStyle = "auto",
    progress: Progress = no_progress,
) -> list[bool]:
    """Train a model in place on questions with their answers, by their mean NLL.

    Returns:
        Of each sample, whether the model answers it now.

    Raises:
        DivergenceError: the loss is not finite. DataError: an answer has no tokens.
    """
    from easyedit_unlearn.baselines.dataset import UnlearnDataset
    from easyedit_unlearn.baselines.precision import check_memory
    from easyedit_unlearn.baselines.settings import BaselineHyperParams
    from easyedit_unlearn.baselines.trainer import train_on_parts
    from easyedit_unlearn.model.prompting import encode
    from easyedit_unlearn.model.weights import guarded

    model, tokenizer = pair
    everything = [name for name, _ in model.named_parameters()]
    if not settings.rank:
        check_memory(model, everything, "fine-tuning", "train adapters (--rank 8), or take a smaller model")
    longest = context_length(model)
    texts = [(format_prompt(tokenizer, s.question, style), s.response or s.answer) for s in samples]
    encoded = encode(tokenizer, texts, longest)
    length = max(len(answer) for _, answer in encoded) + 8
    hparams = BaselineHyperParams(
        "fine-tuning", pair, learning_rate=settings.learning_rate, num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.per_device_train_batch_size,
    )  # fmt: skip
    answered = [False] * len(samples)
    with guarded(model, everything), _learning(model, settings) as names:
        for number in range(settings.rounds):
            data = UnlearnDataset(("forget",), {"forget": encoded}, settings.seed + number)
            train_on_parts(
                model, tokenizer, data, lambda batch: batch["forget"].mean_nll, {}, hparams, progress=progress,
                names=names,
            )  # fmt: skip
            replies = ask_all(
                model,
                tokenizer,
                samples,
                style=style,
                max_new_tokens=length,
                progress=progress,
                what="asking what it learned",
            )
            answered = [knows(sample, reply) for sample, reply in zip(samples, replies, strict=True)]
            if sum(answered) >= settings.until * len(samples):
                break
    return answered


@contextmanager
def _learning(model: Any, settings: FinetuneSettings) -> Iterator[frozenset[str] | None]:
    """The names of what learns within: all weights, or adapters that are added to them afterwards."""
    from easyedit_unlearn.baselines.lora import adapters
    from easyedit_unlearn.model.lowrank import linear_modules

    if not settings.rank:
        yield None
        return
    modules = linear_modules(model, [name for name, _ in model.named_parameters()])
    with adapters(model, modules, settings.rank, settings.lora_alpha) as found:
        yield frozenset(name for name, _ in model.named_parameters() if "lora_" in name)
    found["found"].add_to(model)


RECORD = "finetuned.json"
"""Beside the checkpoint: what it was taught, and how well it answers."""


def finetuned_checkpoint(
    model: str, data: Sequence[str], out: Path, settings: FinetuneSettings, *, overwrite: bool, style: PromptStyle,
    plugins: Plugins, progress: Progress = no_progress, where: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Fine-tune ``model`` and write the checkpoint ``out``; what was made of the same model, data and settings before
    stays. ``where``: device and precision, as ``load_model`` takes them.

    Returns:
        A line that says what was done.

    Raises:
        OutputExistsError: ``out`` holds something else. UnlearnError: too little was learned; nothing is written.
    """
    sources = [parse_source(text, plugins.tasks) for text in data]
    for source in sources:
        if not source.split.startswith(("all", "first")):
            raise ConfigError(
                "must be all or firstN: what is known already need not be learned", key=f"--data {source}"
            )
    samples = [sample for source in sources for sample in pick(source, lambda _samples: frozenset())]
    pair = load_model(model, **(where or placement(None)))
    made = _digest(pair, samples, settings, style)
    if _holds(out, made):
        return f"{out}: already fine-tuned so; nothing to do"
    check_output(out, overwrite=overwrite, inputs=[model])
    answered = finetune(pair, samples, settings, style=style, progress=progress)
    share = f"{sum(answered)} of {len(answered)} questions"
    if sum(answered) < settings.until * len(answered):
        raise UnlearnError(f"the model answers only {share} now; raise --epochs or --learning-rate, or lower --until")
    record = {"digest": made, "data": list(data), "answered": sum(answered), "of": len(answered)}
    save_checkpoint(*pair, out, {RECORD: json_text(record | asdict(settings)).encode("utf-8")})
    return f"{out}: answers {share}; a checkpoint for --model"


def _digest(pair: ModelPair, samples: Sequence[ForgetSample], settings: FinetuneSettings, style: str) -> str:
    asked = [(sample.question, sample.response or sample.answer) for sample in samples]
    recipe = json.dumps([fingerprint(pair[0]), asked, dataclasses.astuple(settings), style])
    return hashlib.sha256(recipe.encode()).hexdigest()


def _holds(out: Path, digest: str) -> bool:
    """True if ``out`` was made by exactly this fine-tuning; a record that cannot be read says nothing."""
    try:
        found: Any = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("digest") == digest
