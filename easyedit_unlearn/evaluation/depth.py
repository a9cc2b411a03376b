"""How deep does forgetting go: is the fact still in the layers, one fine-tuning away, or hidden by fine precision?

Everything here leaves the model bitwise as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from easyedit_unlearn.components import Stage, no_progress
from easyedit_unlearn.errors import ConfigError
from easyedit_unlearn.evaluation.inference import inferring
from easyedit_unlearn.prompting import encode_pair
from easyedit_unlearn.structure import layer_names
from easyedit_unlearn.types import ForgetSample
from easyedit_unlearn.weights import guarded

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Asked = Callable[[Sequence[ForgetSample]], list[bool]]
"""Asks the model as it is now: which of these facts does it give?"""


def logit_lens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]],
    stage: Stage = no_progress,
) -> list[list[tuple[float, bool]]]:  # fmt: skip
    """What each layer would say: its output through the final norm and the vocabulary (nostalgebraist, 2020).

    Returns:
        For each (prompt, answer) and each layer, the last one last: the mean log-probability per answer token in nats,
        and whether every answer token is the likeliest. No layers where the answer has no tokens.
    """
    norm, head = final_norm(model), model.get_output_embeddings()
    found, advance = [], stage("logit lens", len(pairs))
    with inferring(model):
        for prompt, answer in pairs:
            before, said = encode_pair(tokenizer, prompt, answer)
            ids = torch.tensor([before + said], device=model.device)
            states = model(input_ids=ids, output_hidden_states=True).hidden_states[1:]
            outputs = [norm(state) for state in states[:-1]] + [states[-1]]  # transformers gives the last one normed
            place = slice(len(before) - 1, len(before) + len(said) - 1)
            found.append([_said(head(output[0, place]), said) for output in outputs] if said else [])
            advance(1)
    return found


def final_norm(model: PreTrainedModel) -> nn.Module:
    """The module after the last decoder layer: the norm that stands beside the list of layers.

    Raises:
        ConfigError: there is none that could be found.
    """
    parent = layer_names(model)[0].rsplit(".", 2)[0]
    holder = model.get_submodule(parent)
    named = [module for name, module in holder.named_children() if "norm" in name or name.startswith("ln")]
    if not named:
        raise ConfigError(f"{type(model).__name__}: no norm was found beside its decoder layers", key="model_name")
    return named[-1]


def relearned(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, samples: Sequence[ForgetSample], ask: Asked, *,
    prompt: Callable[[str], str], steps: int = 10, learning_rate: float = 1e-5, stage: Stage = no_progress,
) -> list[bool]:  # fmt: skip
    """Which facts come back after ``steps`` of AdamW on the *other* half of the forget set (arXiv 2406.13356): each
    half is taught once, and the other one asked."""
    from easyedit_unlearn.baselines.data import encode
    from easyedit_unlearn.evaluation.inference import answer_nll, pad_id, pad_pairs

    back = [False] * len(samples)
    halves = (range(0, len(samples), 2), range(1, len(samples), 2))
    advance = stage("relearning", 2 * steps)
    for taught, asked in (halves, halves[::-1]):
        if not taught or not asked:
            continue
        texts = [(prompt(samples[i].question), samples[i].response or samples[i].answer) for i in taught]
        encoded = encode(tokenizer, texts, getattr(model.config, "max_position_embeddings", None))
        ids, labels, mask = (t.to(model.device) for t in pad_pairs(encoded, pad_id(tokenizer)))
        with undone(model):
            optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate)
            for _ in range(steps):
                with torch.enable_grad():
                    total, count = answer_nll(model(input_ids=ids, attention_mask=mask).logits, labels)
                    optimiser.zero_grad()
                    (total / count.clamp(min=1)).mean().backward()
                optimiser.step()
                advance(1)
            for i, given in zip(asked, ask([samples[i] for i in asked]), strict=True):
                back[i] = given
    return back


def rounded(model: PreTrainedModel, samples: Sequence[ForgetSample], ask: Asked, bits: int) -> list[bool]:
    """Which facts come back when every linear weight is rounded to ``bits`` bits (arXiv 2410.16454)."""
    with undone(model):
        for module in model.modules():
            kind, weight = type(module).__name__, getattr(module, "weight", None)
            if kind not in ("Linear", "Conv1D") or module is model.get_output_embeddings() or weight is None:
                continue
            with torch.no_grad():
                weight.copy_(round_trip(weight, bits, dim=0 if kind == "Conv1D" else 1))
        return ask(samples)


def round_trip(weight: Tensor, bits: int, dim: int = 1) -> Tensor:
    """To integers of so many bits and back, symmetrically, each output channel by its own largest value; ``dim`` is the
    inputs' dimension."""
    top = 2 ** (bits - 1) - 1
    scale = weight.abs().amax(dim, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny) / top
    rounded_back: Tensor = (weight / scale).round().clamp(-top, top) * scale
    return rounded_back


@contextmanager
def undone(model: nn.Module) -> Iterator[None]:
    """Whatever happens to the weights inside, they are bitwise what they were afterwards."""
    with guarded(model, [name for name, _ in model.named_parameters()]) as guard:
        for parameter in model.parameters():
            parameter.requires_grad_()
        try:
            yield
        finally:
            guard.restore()


def _said(logits: Tensor, said: Sequence[int]) -> tuple[float, bool]:
    labels = torch.tensor(said, device=logits.device)
    logprobs = logits.float().log_softmax(-1)
    chosen = logprobs.gather(-1, labels[:, None])
    return float(chosen.mean()), bool((logprobs.argmax(-1) == labels).all())
