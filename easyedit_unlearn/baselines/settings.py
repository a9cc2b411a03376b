"""Settings that all gradient baselines share, named as in EasyEdit and in transformers' ``TrainingArguments``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from easyedit_unlearn.config.fields import Count, MethodHyperParams, NonNegative, Positive


@dataclass
class BaselineHyperParams(MethodHyperParams):
    """The Trainer's keys, and what of the model is trained."""

    learning_rate: Positive = 1e-5
    num_train_epochs: Count = 5
    per_device_train_batch_size: Count = 4
    gradient_accumulation_steps: Count = 1
    gradient_checkpointing: bool = False
    weight_decay: NonNegative = 0.01
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    warmup_epochs: NonNegative = field(
        default=0.0, metadata={"help": "in place of warmup_ratio, which shrinks with num_train_epochs"}
    )
    max_grad_norm: Positive = 1.0
    layers: list[Annotated[int, Field(ge=0)]] | None = field(
        default=None, metadata={"help": "train these decoder layers alone; by default the whole model"}
    )
    target_modules: list[str] | None = field(
        default=None, metadata={"help": "train modules whose names end so alone (down_proj); by default all"}
    )
    rank: Annotated[int, Field(ge=0)] = field(
        default=0, metadata={"help": "of the LoRA adapters trained in place of the weights; 0 trains the weights"}
    )
    lora_alpha: Count = field(default=32, metadata={"help": "an adapter counts lora_alpha / rank times"})
    answer_tokens: Literal["all", "fact"] = field(
        default="all",
        metadata={
            "help": "of a reply to forget, train on all tokens or on those that say the fact, after what leads up to "
            "them; of one to retain, on all or on those up to the fact"
        },
    )
    rounds: Count = field(
        default=1,
        metadata={"help": "after training ask again, and train on what is still given, so many times at most"},
    )
    max_retain_nll: Positive | None = field(
        default=10.0, metadata={"help": "a retain loss past it, in nats per token, stops and restores; null for none"}
    )


@dataclass
class WeightedHyperParams(BaselineHyperParams):
    """``gamma`` weighs the loss on the forget set, ``alpha`` the one on the retain set."""

    gamma: Positive = 1.0
    alpha: NonNegative = 1.0
