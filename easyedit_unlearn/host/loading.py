"""The model and tokenizer of an editor, as EasyEdit wants them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from easyedit_unlearn.components import Method
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.model.load import load_model, placement


def load_for_host(hparams: UnlearnHyperParams) -> Any:
    name = hparams.model_name
    if isinstance(name, tuple):
        return name
    return load_model(name, **placement(hparams))


def tokenizer_for_host(tokenizer: Any, method: Method) -> Any:
    """A copy, padded as EasyEdit pads for the method: the user's own tokenizer keeps its settings."""
    tokenizer = deepcopy(tokenizer)
    tokenizer.padding_side = "right" if method.needs_subject else "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    # EasyEdit's metrics count prompt tokens by comparing ids with the pad id, and chat prompts contain the
    # end-of-turn token: where pad is that token, a spare one must pad instead.
    if tokenizer.pad_token == tokenizer.eos_token and tokenizer.unk_token not in (None, tokenizer.eos_token):
        tokenizer.pad_token = tokenizer.unk_token
    return tokenizer


def model_label(name: Any) -> str:
    if not isinstance(name, tuple):
        return str(name)
    config = name[0].config
    return str(getattr(config, "_name_or_path", "") or config.model_type)
