"""transformers' Trainer with a method's loss: batching, precision and schedules are the library's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from easyedit_unlearn.baselines.agreement import anywhere, averaged
from easyedit_unlearn.baselines.answers import Answers
from easyedit_unlearn.baselines.dataset import EpochOrder, Part, UnlearnDataset, collate
from easyedit_unlearn.baselines.frozen import Memory, remember, seeing
from easyedit_unlearn.baselines.precision import in_float32
from easyedit_unlearn.baselines.settings import BaselineHyperParams
from easyedit_unlearn.baselines.trainable import trainable
from easyedit_unlearn.components import Progress
from easyedit_unlearn.errors import DivergenceError
from easyedit_unlearn.model.device import Products, products
from easyedit_unlearn.model.inference import answer_logits, pad_id

Batch = dict[str, torch.Tensor]
Loss = Callable[[Any, Batch], torch.Tensor]
"""(model, batch) -> scalar loss, the mean over the batch's items."""


class UnlearnTrainer(Trainer):
    """Minimises the mean of ``loss(model, batch)`` over all items of a step, however these are cut into batches and
    spread over processes; stops with DivergenceError when it is not finite.

    Args:
        parts: how many rows of a batch belong to one item.
    """

    def __init__(self, *, loss: Loss, parts: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._loss, self._parts = loss, parts
        # The loss is a mean over items already; the Trainer then divides by the accumulation steps, and only it.
        self.model_accepts_loss_kwargs = False

    def _get_train_sampler(self, *_args: Any, **_kwargs: Any) -> Any:
        return EpochOrder(self.train_dataset)  # type: ignore[arg-type]

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, *args: Any, **kwargs: Any) -> Any:
        """Counts the step's items: the last batch of an epoch may be short, and the last step may have fewer."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, *args, **kwargs)
        counted = torch.tensor([len(batch["labels"]) / self._parts for batch in batches]).sum().to(self.args.device)
        self._share = (len(batches), averaged(counted).item())
        return batches, items

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        self.optimizer = in_float32(super().create_optimizer(*args, **kwargs))
        return self.optimizer

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        loss = self._loss(model, inputs)
        if anywhere(not torch.isfinite(loss), loss.device):
            raise DivergenceError(
                f"the loss became {loss.item()} at step {self.state.global_step}; the model is as it was before. "
                "Lower learning_rate or num_train_epochs"
            )
        # the Trainer divides by the number of batches, and gradients are averaged over processes
        steps, items = self._share
        return loss * (len(inputs["labels"]) / self._parts) * steps / items


class _Arguments(TrainingArguments):
    """On one device, however many the machine has: DataParallel would make results depend on their number."""

    @property
    def n_gpu(self) -> int:
        return min(int(super().n_gpu), 1)


def train(
    model: Any,
    dataset: UnlearnDataset,
    loss: Loss,
    hparams: BaselineHyperParams,
    *,
    pad_id: int,
    progress: Progress,
    step_end: Callable[[], None] | None = None,
    epoch_end: Callable[[int], None] | None = None,
    names: Collection[str] | None = None,
) -> None:
    """Train the named parameters of ``model`` in place, all by default. Nothing is written or reported anywhere.

    ``step_end`` is called after every optimiser step, ``epoch_end`` after every epoch, with the number of those past.
    """
    with tempfile.TemporaryDirectory() as scratch, trainable(model, names):
        arguments = _Arguments(
            output_dir=scratch,
            learning_rate=hparams.learning_rate,
            num_train_epochs=hparams.num_train_epochs,
            per_device_train_batch_size=hparams.per_device_train_batch_size,
            gradient_accumulation_steps=hparams.gradient_accumulation_steps,
            **_checkpointing_arguments(hparams.gradient_checkpointing),
            weight_decay=hparams.weight_decay,
            warmup_steps=_warmup_steps(len(dataset), hparams),
            max_grad_norm=hparams.max_grad_norm,
            lr_scheduler_type="linear",
            use_cpu=model.device.type == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            remove_unused_columns=False,
            disable_tqdm=True,
            seed=torch.initial_seed() % 2**32,
        )
        trainer = UnlearnTrainer(
            loss=loss,
            parts=len(dataset.parts),
            model=model,
            args=arguments,
            train_dataset=dataset,
            data_collator=partial(collate, pad_id=pad_id),
            callbacks=[_Progress(hparams.alg_name, progress, step_end), _Epochs(dataset, epoch_end)],
        )
        for callback in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(callback)
        trainer.train()
        model.zero_grad(set_to_none=True)


def train_on_parts(
    model: Any,
    tokenizer: Any,
    data: UnlearnDataset,
    loss: Callable[[Mapping[Part, Answers]], torch.Tensor],
    remembers: Mapping[Part, Memory],
    hparams: Any,
    *,
    progress: Progress,
    layer: str | None = None,
    names: Collection[str] | None = None,
    precision: Products = "auto",
) -> None:
    """:func:`train` where the loss is made of the answers in each part of a batch, of what the frozen model made of the
    parts in ``remembers``, and of the outputs of ``layer``. A loss that has a ``step_end`` or an ``epoch_end`` is told
    of every step or epoch. ``precision``: of the matrix products."""
    padding, count = pad_id(tokenizer), len(data.parts)

    def of_batch(run: Any, batch: Batch) -> torch.Tensor:  # ``run`` may be wrapped for several processes
        with products(model, precision):
            logits, labels = answer_logits(run, batch["input_ids"], batch["labels"], batch["attention_mask"])
        hidden = seen[0].chunk(count) if layer else [None] * count
        parts = zip(data.parts, logits.chunk(count), labels.chunk(count), hidden, strict=True)
        answers = {part: Answers.of(z, y, batch.get(f"{part}_reference"), h) for part, z, y, h in parts}
        if "retain" in answers and hparams.max_retain_nll is not None:
            _check_retain(answers["retain"].mean_nll, hparams.max_retain_nll)
        return loss(answers)

    with tempfile.TemporaryDirectory() as scratch, seeing(model, layer) as seen:
        for part, kind in remembers.items():
            pairs = data.pairs(part, hparams.num_train_epochs)
            with products(model, precision):
                data.remembered[part] = remember(
                    model, pairs, kind, pad_id=padding, scratch=Path(scratch), name=part, progress=progress, layer=layer
                )
        step_end, epoch_end = getattr(loss, "step_end", None), getattr(loss, "epoch_end", None)
        train(
            model, data, of_batch, hparams, pad_id=padding, progress=progress, step_end=step_end, epoch_end=epoch_end,
            names=names,
        )  # fmt: skip


def _check_retain(loss: torch.Tensor, bound: float) -> None:
    nll = loss.item()
    if anywhere(nll > bound, loss.device):
        raise DivergenceError(
            f"the retain loss became {nll:.2f} nats per token, past max_retain_nll {bound:g}; the model is as it was "
            "before. Lower learning_rate or num_train_epochs, or raise alpha"
        )


class _Progress(TrainerCallback):
    def __init__(self, name: str, progress: Progress, step_end: Callable[[], None] | None) -> None:
        self._name, self._progress, self._step_end = name, progress, step_end
        self._advance: Callable[[int], None] = lambda _steps: None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._advance = self._progress(f"{self._name}: training steps", state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._advance(1)
        if self._step_end is not None:
            self._step_end()


class _Epochs(TrainerCallback):
    """Tells the data set its epoch: which loaders do so depends on the sampler and on accelerate's version."""

    def __init__(self, dataset: UnlearnDataset, epoch_end: Callable[[int], None] | None) -> None:
        self._dataset, self._epoch_end = dataset, epoch_end

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._dataset.set_epoch(round(state.epoch or 0))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._epoch_end is not None:
            self._epoch_end(round(state.epoch or 0))


def _warmup_steps(items: int, hparams: BaselineHyperParams) -> int:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = hparams.per_device_train_batch_size * hparams.gradient_accumulation_steps * processes
    per_epoch = -(-items // batch)
    return int(per_epoch * (hparams.warmup_epochs or hparams.num_train_epochs * hparams.warmup_ratio))


def _checkpointing_arguments(wanted: bool) -> dict[str, Any]:
    """transformers 5 renamed ``gradient_checkpointing`` to ``activation_checkpointing``, its property on models too."""
    fields = TrainingArguments.__dataclass_fields__
    name = "activation_checkpointing" if "activation_checkpointing" in fields else "gradient_checkpointing"
    return {name: True, f"{name}_kwargs": {"use_reentrant": False}} if wanted else {}
