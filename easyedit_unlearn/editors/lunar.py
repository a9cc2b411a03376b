"""LUNAR (arXiv 2502.07218): what a layer puts out for the forget set moves to where the model refuses.

The authors retrain one MLP output matrix on the squared error. That is linear regression, so it is solved here and not
trained: no steps, no learning rate, one rank. The minimiser moves the forget tokens less far than is asked, for what
stays pulls back; rescaled, they move as far on the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from easyedit_unlearn.components import Job, Method
from easyedit_unlearn.config.examples import read_examples
from easyedit_unlearn.config.fields import MethodHyperParams, NonNegative
from easyedit_unlearn.editors.attain import attained, record
from easyedit_unlearn.editors.corpus import corpus_of
from easyedit_unlearn.editors.inputs import inputs_of, passing
from easyedit_unlearn.editors.lookup import subject_tokens
from easyedit_unlearn.editors.solve import RIDGE, ridged
from easyedit_unlearn.editors.statistics import cached_key_moments
from easyedit_unlearn.errors import ConfigError
from easyedit_unlearn.model.inference import pad_id
from easyedit_unlearn.model.lowrank import LowRank
from easyedit_unlearn.model.prompting import encode_pair, format_prompt
from easyedit_unlearn.model.structure import context_length, layer_name, mlp_output, stream_share


@dataclass
class LUNARHyperParams(MethodHyperParams):
    """``layer``: whose MLP output weights change. ``coeff``: how far the forget tokens move, on the mean, in units of
    the refusal direction. ``tokens``: which move: all of a prompt's own (the paper's, but for what all
    prompts begin with), or the subject's.
    ``retain_weight``: how much a retain token counts against one that moves. ``corpus_weight``: how much the mean key
    moment of plain text (``unlearn.native.corpus``) counts beside the sum over the retain set's tokens. ``rescale``:
    the forget tokens move by all of coeff on the mean; without it the update is the minimiser itself, as the authors'.
    ``examples``: questions that the model refuses after others' refusals, as ``unlearn.target`` takes for
    self_improve."""

    layer: Annotated[int, Field(ge=0)] = field(kw_only=True)
    coeff: float = 2.0
    tokens: Literal["prompt", "subject"] = "prompt"
    retain_weight: NonNegative = 1.0
    corpus_weight: NonNegative = 0.0
    rescale: bool = False
    examples: Path | None = None


class LUNAR(Method):
    name, HyperParams = "LUNAR", LUNARHyperParams
    needs_retain = True
    uses_targets = False

    def departures(self, hparams: Any) -> list[str]:
        """The paper moves all of a prompt's tokens by the minimiser, and its retain set is all that stays."""
        found = ["subject"] * (hparams.tokens == "subject") + ["rescaled"] * hparams.rescale
        return found + ["corpus"] * bool(hparams.corpus_weight)

    def parameters(self, model: Any, hparams: Any) -> Iterable[str]:
        return [f"{_module(model, hparams)}.weight"]

    def apply(self, job: Job) -> None:
        """Solve for the update and add it; the job's state keeps it as a change of rank one.

        Raises:
            ConfigError: the model has no such layer, or no corpus is named where it counts.
            DataError: ``tokens: subject`` and a request without one; an examples file that is none.
        """
        advance = job.progress("LUNAR", 3)
        name = _module(job.model, job.hparams)
        layer = layer_name(job.model, job.hparams.layer)
        share = stream_share(job.model, layer, name)
        if share is None:
            raise ConfigError(
                f"{type(job.model).__name__} does not add what {name} puts out to its stream in proportion (a norm "
                "lies between), and LUNAR moves the stream: it cannot work here", key="layer", value=job.hparams.layer,
            )  # fmt: skip
        direction = job.hparams.coeff * _direction(job)
        advance(1)
        moved, still, places = _forget_keys(job, name)
        before = _at(job, layer, places)
        kept = still.T @ still + _kept(job, name)
        advance(1)
        u, moves = redirection(moved.T, kept, rescale=job.hparams.rescale)
        aim = direction.float() / share
        change = LowRank({name: (u[None].float(), aim[:, None])})
        change.add_to(job.model, job.state)
        realised, promised = (_at(job, layer, places) - before).mean(0), moves * direction.float()
        record(job, attained(realised[:, None], promised[:, None]), [job.requests[0]["prompt"]])
        advance(1)


def _module(model: Any, hparams: Any) -> str:
    return mlp_output(model, layer_name(model, hparams.layer))


def _direction(job: Job) -> Float[Tensor, " d_model"]:
    """r: the layer's mean output at the last token of prompts it refuses, less that of the forget set's."""
    known, layer = read_examples(job.hparams.examples), layer_name(job.model, job.hparams.layer)
    refused = []
    for example in known.examples:
        shots = [(other.question, other.refusal) for other in known.examples if other is not example][:5]
        style = job.hparams.unlearn.prompt
        refused.append(format_prompt(job.tokenizer, example.question, style, system=known.instruction, shots=shots))
    asked = [request["prompt"] for request in job.requests]
    return _last_outputs(job, layer, refused) - _last_outputs(job, layer, asked)


def _last_outputs(job: Job, layer: str, prompts: Sequence[str]) -> Float[Tensor, " d_model"]:
    longest = context_length(job.model) or 0  # of a shorter context, its end: what is asked last
    found = []
    for start in range(0, len(prompts), 8):
        texts = [list(job.tokenizer(prompt).input_ids)[-longest:] for prompt in prompts[start : start + 8]]
        _, outputs = passing(job.model, layer, texts, pad_id(job.tokenizer))
        found += [row[len(text) - 1] for row, text in zip(outputs, texts, strict=True)]
    return torch.stack(found).double().mean(0)


def _at(job: Job, layer: str, places: Sequence[bool]) -> Float[Tensor, "moved d_model"]:
    """What the layer puts out at the tokens that move, in float32."""
    texts = [list(job.tokenizer(request["prompt"]).input_ids) for request in job.requests]
    found = []
    for start in range(0, len(texts), 8):
        _, outputs = passing(job.model, layer, texts[start : start + 8], pad_id(job.tokenizer))
        found += [row[: len(text)] for row, text in zip(outputs, texts[start : start + 8], strict=True)]
    whole = torch.cat(found)
    return whole[torch.tensor(places, device=whole.device)]


def _forget_keys(job: Job, name: str) -> tuple[Float[Tensor, "moved d_key"], Float[Tensor, "still d_key"], list[bool]]:
    """Inputs of the module at the forget tokens that move and at those that do not, in float64; and which move.

    What all prompts begin with (a chat template's system prompt) never moves.
    """
    texts = [list(job.tokenizer(request["prompt"]).input_ids) for request in job.requests]
    shared = _shared_start([*texts, *(list(job.tokenizer(prompt).input_ids) for prompt, _ in job.retain)])
    keys = inputs_of(job.model, name, texts, pad_id(job.tokenizer)).double()
    moves = []
    for request, text in zip(job.requests, texts, strict=True):
        inside: Sequence[int] = range(shared, len(text))
        if job.hparams.tokens == "subject":
            inside = subject_tokens(job.tokenizer, request["prompt"], request.get("subject"), "tokens: subject")
        moves += [position in inside for position in range(len(text))]
    chosen = torch.tensor(moves, device=keys.device)
    return keys[chosen], keys[~chosen], moves


def _shared_start(texts: Sequence[Sequence[int]]) -> int:
    """How many tokens all texts begin with; each keeps at least its last."""
    shortest = min(len(text) for text in texts) - 1
    return next((n for n in range(shortest) if len({text[n] for text in texts}) > 1), shortest)


def _kept(job: Job, name: str) -> Float[Tensor, "d_key d_key"]:
    """Sum of k k^T over the retain set's tokens, answers included, and the corpus's, each weighed."""
    pairs = (encode_pair(job.tokenizer, prompt, answer, end=True) for prompt, answer in job.retain)
    keys = inputs_of(job.model, name, [prompt + answer for prompt, answer in pairs], pad_id(job.tokenizer)).double()
    moment: Tensor = job.hparams.retain_weight * (keys.T @ keys)
    if job.hparams.corpus_weight:
        corpus = corpus_of(job.hparams.unlearn.native, job.hparams.alg_name, job.retain)
        known = job.state.setdefault("moments", {})  # a sequence keeps those before its first edit
        if name not in known:
            known |= cached_key_moments(job.model, job.tokenizer, [name], corpus, progress=job.progress)
        moment = moment + job.hparams.corpus_weight * known[name].double()
    return moment


def redirection(
    moved: Float[Tensor, "d_key n"], kept: Float[Tensor, "d_key d_key"], ridge: float = RIDGE, *, rescale: bool = False
) -> tuple[Float[Tensor, " d_key"], float]:
    """The direction u for which W + r u^T moves what is given for ``moved`` by r and all else by little; and u^T k_i on
    the mean, the share of r by which they move.

    The minimiser of sum_i |D k_i - r|^2 + tr(D M D^T) is D = r u^T with u = (M + K K^T)^{-1} K 1: LUNAR's squared
    error (section 4) in closed form. ``rescale`` makes its mean u^T k_i 1, and it no minimiser.

    Args:
        moved: K. kept: M, the sum of k k^T over keys that are to stay.
        ridge: on the diagonal, relative to its mean, so that few keys in many dimensions have a solution.
    """
    if moved.ndim != 2 or len(moved) != len(kept) or not moved.shape[1]:
        raise ValueError(f"no keys to move, got {[tuple(moved.shape), tuple(kept.shape)]}")
    gram = ridged(kept + moved @ moved.T, ridge)
    direction: Tensor = torch.linalg.solve(gram, moved.sum(1))
    mean = (moved.T @ direction).mean().item()
    return (direction / mean, 1.0) if rescale else (direction, mean)
