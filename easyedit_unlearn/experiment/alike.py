"""For the merger ``auto``: which questions an editor cannot tell apart, by the keys at which it would edit them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.types import ForgetSample, PreTrainedModel, PreTrainedTokenizerBase


def with_groups(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, samples: Sequence[ForgetSample],
    hparams: UnlearnHyperParams,
) -> UnlearnHyperParams:  # fmt: skip
    """``hparams``; where their merger is ``auto`` and does not know yet, a copy that knows which samples share a value.

    None do where the method's requests cannot share one (EasyEdit's own engine, baselines).
    """
    settings = hparams.unlearn
    options: Any = settings.merger_options
    if settings.merger.name != "auto" or options.groups or not hparams.method.shares_values or len(samples) < 2:
        return hparams
    prompts = [format_prompt(tokenizer, sample.question, settings.prompt) for sample in samples]
    always = hparams.method.needs_subject
    requests = [  # where a subject cannot be told from the rest of a prompt, a memory looks at the prompt's end
        {"prompt": prompt, "subject": s.subject if always or prompt.count(s.subject or prompt) == 1 else None,
         "target_new": "No."}
        for prompt, s in zip(prompts, samples, strict=True)
    ]  # fmt: skip
    keys = hparams.method.keys_of(model, tokenizer, requests, hparams)
    if keys is None:
        return hparams
    groups = [tuple(samples[i].id for i in group) for group in alike(keys.float().cpu().numpy(), options.alike)]
    made = copy.copy(hparams)
    made.unlearn = replace(settings, merger_options=options.model_copy(update={"groups": tuple(groups)}))
    return made


def alike(keys: Any, least: float) -> list[list[int]]:
    """The columns' numbers in groups within which the mean cosine is at least ``least`` (average linkage).

    Args:
        keys: (d_key, n).
    """
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    unit = keys / np.maximum(np.linalg.norm(keys, axis=0), 1e-12)
    far = np.clip(1 - unit.T @ unit, 0, 2).astype(np.float64)
    np.fill_diagonal(far, 0)
    labels = fcluster(linkage(squareform(far, checks=False), "average"), 1 - least, "distance")
    found: dict[int, list[int]] = {}
    for number, label in enumerate(labels):
        found.setdefault(int(label), []).append(number)
    return list(found.values())
