"""LUNAR (arXiv 2502.07218): what a layer puts out for the forget set moves to where the model refuses.

The authors retrain one MLP output matrix on the squared error. That is linear regression, so it is solved here and not
trained: no steps, no learning rate, one rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from easyedit_unlearn.baselines.hparams import MethodHyperParams, NonNegative
from easyedit_unlearn.components import Method, Stage

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class LUNARHyperParams(MethodHyperParams):
    """``layer``: whose MLP output weights change. ``coeff``: how far the forget tokens move, on the mean, in units of
    the refusal direction. ``tokens``: which move: all of a prompt's own (the paper's), or the subject's.
    ``retain_weight``: how much a retain token counts against one that moves. ``corpus_weight``: how much the mean key
    moment of plain text (``unlearn.native.corpus``) counts beside the sum over the retain set's tokens.
    ``examples``: questions that the model refuses after others' refusals, as ``unlearn.target`` takes for
    self_improve."""

    layer: Annotated[int, Field(ge=0)] = field(kw_only=True)
    coeff: float = 2.0
    tokens: Literal["prompt", "subject"] = "prompt"
    retain_weight: NonNegative = 1.0
    corpus_weight: NonNegative = 0.0
    examples: Path | None = None


class LUNAR(Method):
    name = "LUNAR"
    summary = "One layer's output on the forget set moved towards refusals, by regression (arXiv 2502.07218)."
    needs_retain = True
    uses_targets = False

    def hparams_class(self) -> type:
        return LUNARHyperParams

    def parameters(self, model: Any, hparams: Any) -> Iterable[str]:
        return [f"{_module(model, hparams)}.weight"]

    def apply(
        self,
        model: Any,
        tokenizer: Any,
        requests: Sequence[Mapping[str, Any]],
        hparams: Any,
        *,
        retain: Sequence[tuple[str, str]],
        stage: Stage,
    ) -> None:
        """Solve for the update and add it; ``hparams.history`` keeps it as a change of rank one.

        Raises:
            ConfigError: the model has no such layer, or no corpus is named where it counts.
            DataError: ``tokens: subject`` and a request without one; an examples file that is none.
        """
        from easyedit_unlearn.baselines.lora import LowRank
        from easyedit_unlearn.editors.solve import redirection

        advance = stage("LUNAR", 3)
        name = _module(model, hparams)
        direction = hparams.coeff * _direction(model, tokenizer, requests, hparams)
        advance(1)
        moved, still = _forget_keys(model, tokenizer, name, requests, retain, hparams.tokens)
        kept = still.T @ still + _kept(model, tokenizer, name, retain, hparams, stage)
        advance(1)
        change = LowRank({name: (redirection(moved.T, kept)[None].float(), direction[:, None].float())})
        change.add_to(model, hparams.history)
        advance(1)


def _module(model: Any, hparams: Any) -> str:
    from easyedit_unlearn.structure import layer_name, mlp_output

    return mlp_output(model, layer_name(model, hparams.layer))


def _direction(model: Any, tokenizer: Any, requests: Sequence[Mapping[str, Any]], hparams: Any) -> Tensor:
    """r, (d_model,): the layer's mean output at the last token of prompts it refuses, less that of the forget set's."""
    from easyedit_unlearn.prompting import format_prompt
    from easyedit_unlearn.structure import layer_name
    from easyedit_unlearn.targets.self_improve import read_examples

    known, layer = read_examples(hparams.examples), layer_name(model, hparams.layer)
    refused = []
    for example in known.examples:
        shots = [(other.question, other.refusal) for other in known.examples if other is not example][:5]
        refused.append(
            format_prompt(tokenizer, example.question, hparams.unlearn.prompt, system=known.instruction, shots=shots)
        )
    asked = [request["prompt"] for request in requests]
    return _last_outputs(model, tokenizer, layer, refused) - _last_outputs(model, tokenizer, layer, asked)


def _last_outputs(model: Any, tokenizer: Any, layer: str, prompts: Sequence[str]) -> Tensor:
    import torch

    from easyedit_unlearn.editors.inputs import passing
    from easyedit_unlearn.evaluation.inference import pad_id

    found = []
    for start in range(0, len(prompts), 8):
        texts = [list(tokenizer(prompt).input_ids) for prompt in prompts[start : start + 8]]
        _, outputs = passing(model, layer, texts, pad_id(tokenizer))
        found += [row[len(text) - 1] for row, text in zip(outputs, texts, strict=True)]
    return torch.stack(found).double().mean(0)


def _forget_keys(
    model: Any, tokenizer: Any, name: str, requests: Sequence[Mapping[str, Any]], retain: Any, tokens: str
) -> tuple[Tensor, Tensor]:
    """Inputs of the module at the forget tokens that move and at those that do not, each (tokens, d_key) in float64.

    What all prompts begin with (a chat template's system prompt) never moves.
    """
    import torch

    from easyedit_unlearn.editors.inputs import inputs_of
    from easyedit_unlearn.editors.lookup import subject_tokens
    from easyedit_unlearn.evaluation.inference import pad_id

    texts = [list(tokenizer(request["prompt"]).input_ids) for request in requests]
    shared = _shared_start([*texts, *(list(tokenizer(prompt).input_ids) for prompt, _ in retain)])
    keys = inputs_of(model, name, texts, pad_id(tokenizer)).double()
    moves = []
    for request, text in zip(requests, texts, strict=True):
        inside: Sequence[int] = range(shared, len(text))
        if tokens == "subject":
            inside = subject_tokens(tokenizer, request["prompt"], request.get("subject"), "tokens: subject")
        moves += [position in inside for position in range(len(text))]
    chosen = torch.tensor(moves, device=keys.device)
    return keys[chosen], keys[~chosen]


def _shared_start(texts: Sequence[Sequence[int]]) -> int:
    """How many tokens all texts begin with; each keeps at least its last."""
    shortest = min(len(text) for text in texts) - 1
    return next((n for n in range(shortest) if len({text[n] for text in texts}) > 1), shortest)


def _kept(model: Any, tokenizer: Any, name: str, retain: Any, hparams: Any, stage: Stage) -> Tensor:
    """Sum of k k^T over the retain set's tokens, answers included, and the corpus's, each weighed: (d_key, d_key)."""
    from easyedit_unlearn.editors.corpus import corpus_of
    from easyedit_unlearn.editors.inputs import inputs_of
    from easyedit_unlearn.editors.statistics import cached_key_moments
    from easyedit_unlearn.evaluation.inference import pad_id
    from easyedit_unlearn.prompting import encode_pair

    pairs = (encode_pair(tokenizer, prompt, answer, end=True) for prompt, answer in retain)
    keys = inputs_of(model, name, [prompt + answer for prompt, answer in pairs], pad_id(tokenizer)).double()
    moment: Tensor = hparams.retain_weight * (keys.T @ keys)
    if hparams.corpus_weight:
        corpus = corpus_of(hparams.unlearn.native, hparams.alg_name, retain)
        known = hparams.history.setdefault("moments", {})  # a sequence keeps those before its first edit
        if name not in known:
            known |= cached_key_moments(model, tokenizer, [name], corpus, stage=stage)
        moment = moment + hparams.corpus_weight * known[name].double()
    return moment
