"""How deep does forgetting go: is the fact still in the layers, one fine-tuning away, or hidden by fine precision?

Everything here leaves the model bitwise as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.inference import answer_logits, answer_nll, inferring, pad_id, pad_pairs, plain_text
from easyedit_unlearn.model.prompting import TokenPair, beginning, encode, encode_pair
from easyedit_unlearn.model.structure import context_length, layer_names
from easyedit_unlearn.model.weights import guarded
from easyedit_unlearn.types import ForgetSample

ROWS = 8
"""Texts trained on together; memory does not grow with the forget set."""
_WINDOW = 64
Ask = Callable[[Sequence[ForgetSample]], list[bool]]
"""Asks the model as it is now: which of these facts does it give?"""


def logit_lens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]],
    progress: Progress = no_progress,
) -> list[list[tuple[float, bool]]]:  # fmt: skip
    """What each layer would say: its output through the final norm and the vocabulary (nostalgebraist, 2020).

    Returns:
        For each (prompt, answer) and each layer, the last one last: the mean log-probability per answer token in nats,
        and whether every answer token is the likeliest. No layers where the answer has no tokens.
    """
    norm, head = final_norm(model), model.get_output_embeddings()
    found, advance = [], progress("logit lens", len(pairs))
    with inferring(model):
        for prompt, answer in pairs:
            before, said = encode_pair(tokenizer, prompt, answer)
            ids = torch.tensor([before + said], device=device_of(model))
            states = model(input_ids=ids, output_hidden_states=True).hidden_states[1:]
            outputs = [norm(state) for state in states[:-1]] + [states[-1]]  # transformers gives the last one normed
            place = slice(len(before) - 1, len(before) + len(said) - 1)
            found.append([_said(head(output[0, place]), said) for output in outputs] if said else [])
            advance(1)
    return found


def final_norm(model: PreTrainedModel) -> nn.Module:
    """The norm that stands beside the list of decoder layers, after them; the identity in a model that has none there
    (whose layers end in one)."""
    parent = layer_names(model)[0].rsplit(".", 2)[0]
    children = model.get_submodule(parent).named_children()
    named = [module for name, module in children if module is not None and ("norm" in name or name.startswith("ln"))]
    return named[-1] if named else nn.Identity()


def relearned(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, gone: Sequence[ForgetSample],
    known: Sequence[ForgetSample], ask: Ask, *, prompt: Callable[[str], str], steps: int = 10,
    learning_rate: float = 1e-5, progress: Progress = no_progress,
) -> list[bool | None]:  # fmt: skip
    """Which facts of ``gone`` come back after ``steps`` of AdamW on half of the ``known`` ones of the forget set, to
    which they do not belong (arXiv 2406.13356); None where that half is empty, or the loss is not finite."""
    back: dict[str, bool | None] = {sample.id: None for sample in gone}
    advance = progress("relearning", 2 * steps)
    for teach, other in ((known[0::2], known[1::2]), (known[1::2], known[0::2])):
        ids = {sample.id for sample in other}
        asked = [sample for sample in gone if sample.id in ids]
        if not teach or not asked:
            continue
        texts = [(prompt(sample.question), sample.response or sample.answer) for sample in teach]
        encoded = encode(tokenizer, texts, context_length(model))
        with undone(model):
            if _taught(model, tokenizer, encoded, steps, learning_rate, advance):
                back |= dict(zip((sample.id for sample in asked), ask(asked), strict=True))
    return [back[sample.id] for sample in gone]


def trained_on_text(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, gone: Sequence[ForgetSample], ask: Ask, *,
    steps: int = 10, learning_rate: float = 1e-5, progress: Progress = no_progress,
) -> list[bool | None]:  # fmt: skip
    """Which facts come back after as many steps on the bundled text, which says nothing of them: benign fine-tuning
    (arXiv 2310.03693 of refusals)."""
    ids = list(tokenizer(plain_text(), add_special_tokens=False).input_ids)
    begin = beginning(tokenizer) or ids[:1]
    size = min(_WINDOW, (context_length(model) or 2**30) - len(begin))
    windows = [(begin, ids[start : start + size]) for start in range(0, len(ids), size)]
    with undone(model):
        trained = _taught(model, tokenizer, windows, steps, learning_rate, progress("training on text", steps))
        return list(ask(gone)) if trained else [None] * len(gone)


def _taught(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoded: Sequence[TokenPair], steps: int,
    learning_rate: float, advance: Callable[[int], None],
) -> bool:  # fmt: skip
    """Full-batch steps in place; False where the loss is not finite. Steps are taken in float32: ten steps of 1e-5 are
    lost on bfloat16 weights."""
    parameters = list(model.parameters())
    masters = [p if p.dtype == torch.float32 else p.detach().float().requires_grad_() for p in parameters]
    optimiser = torch.optim.AdamW(masters, lr=learning_rate)
    for _ in range(steps):
        total = 0.0
        for start in range(0, len(encoded), ROWS):
            rows = encoded[start : start + ROWS]
            ids, labels, mask = (t.to(device_of(model)) for t in pad_pairs(rows, pad_id(tokenizer)))
            with torch.enable_grad():
                nll, count = answer_nll(*answer_logits(model, ids, labels, mask))
                loss = (nll / count.clamp(min=1)).sum() / len(encoded)
                loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        if not math.isfinite(total):
            return False
        for master, parameter in zip(masters, parameters, strict=True):
            gradient, parameter.grad = parameter.grad, None
            master.grad = None if gradient is None else gradient.float()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            for master, parameter in zip(masters, parameters, strict=True):
                if master is not parameter:
                    parameter.copy_(master)
        advance(1)
    return True


def rounded(model: PreTrainedModel, samples: Sequence[ForgetSample], ask: Ask, bits: int) -> list[bool]:
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
            parameter.grad = None  # somebody's earlier gradient; the guard puts it back
        try:
            yield
        finally:
            guard.restore()


def _said(logits: Tensor, said: Sequence[int]) -> tuple[float, bool]:
    labels = torch.tensor(said, device=logits.device)
    logprobs = logits.float().log_softmax(-1)
    chosen = logprobs.gather(-1, labels[:, None])
    return float(chosen.mean()), bool((logprobs.argmax(-1) == labels).all())
