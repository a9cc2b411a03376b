"""A third party's plugin: one of each kind, using nothing but public names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from easyedit_unlearn import (
    EditRequest,
    ForgetSample,
    Method,
    Metric,
    QueryMerger,
    Target,
    TargetBuilder,
    Task,
    hookimpl,
)


class Rivers(Task):
    name, summary = "rivers", "Two questions about rivers."

    def samples(self, options):
        question = "Which river runs by {}?"
        return [
            ForgetSample(id=town, question=question.format(town), answer=river, subject=town)
            for town, river in (("Corvo", "Selka"), ("Dunmar", "Ilbra"))
        ]


class Shrug(TargetBuilder):
    name, summary = "shrug", "Always 'I have no idea.'"

    def build(self, samples, options, context):
        return [Target(sample.id, "I have no idea.") for sample in samples]


class Reversed(QueryMerger):
    name, summary = "reversed", "One request a sample, last first."

    def merge(self, samples, targets, options):
        return [
            EditRequest(s.question, t.text, s.response or s.answer, (s.id,), s.subject)
            for s, t in reversed(list(zip(samples, targets, strict=True)))
        ]


class Words(Metric):
    name, summary, direction = "words", "Length of the reply in words.", "none"

    def score(self, observation):
        return float(len(observation.text.split()))


@dataclass
class EraseHyperParams:
    alg_name: str
    model_name: Any
    device: Any = 0
    model_parallel: bool = False
    max_length: int = 256
    batch_size: int = 1
    layer: int = 0


class Erase(Method):
    """Zeroes one layer's MLP: the whole method."""

    name, summary = "Erase", "Sets one MLP projection to zero."

    HyperParams = EraseHyperParams

    def parameters(self, model, hparams):
        return [f"model.layers.{hparams.layer}.mlp.down_proj.weight"]

    def apply(self, job):
        job.model.get_submodule(f"model.layers.{job.hparams.layer}.mlp.down_proj").weight.data.zero_()


@hookimpl
def easyedit_unlearn_tasks():
    return [Rivers()]


@hookimpl
def easyedit_unlearn_target_builders():
    return [Shrug()]


@hookimpl
def easyedit_unlearn_query_mergers():
    return [Reversed()]


@hookimpl
def easyedit_unlearn_methods():
    return [Erase()]


@hookimpl
def easyedit_unlearn_metrics():
    return [Words()]
