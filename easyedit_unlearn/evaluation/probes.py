"""Is what a model no longer gives forgotten, or only hidden? All attacks and depth probes on one model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.evaluation.askings import Asking, asking_of
from easyedit_unlearn.evaluation.attacks import ATTACKS, attack_all, sampled
from easyedit_unlearn.evaluation.judging import gives_answer, is_refusal
from easyedit_unlearn.evaluation.observe import DEFAULT_GENERATION, GenerationConfig
from easyedit_unlearn.types import Evaluation, ForgetSample, PreTrainedModel, PreTrainedTokenizerBase, Selection

ABOUT: Mapping[str, str] = {
    **{name: attack.summary for name, attack in ATTACKS.items()},
    "sampled": "any of 8 replies at temperature 1",
    "logit_lens": "the likeliest answer at some layer",
    "refusal_direction": "the direction of refusing taken out, in each layer its own, or one in all",
    "edit_reversal": "the leading directions taken out of the five weights that look edited most",
    "relearning": "after 10 steps on the other half of the forget set",
    "text": "after 10 steps on plain text that says nothing of them",
    "int8": "all linear weights rounded to 8 bits",
    "int4": "all linear weights rounded to 4 bits",
}


def probe(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    selection: Selection,
    evaluation: Evaluation,
    *,
    attacks: bool = False,
    depth: bool = False,
    generation: GenerationConfig = DEFAULT_GENERATION,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """What brings back facts of the forget set that were known before and are not given when asked plainly.

    Args:
        attacks: ask for them in other ways. depth: look in the layers, relearn, round the weights.

    Returns:
        ``facts``, how many these are; ``back``, by probe how many came back of how many it could be tried on, and of an
        attack's prompts how many were ``refused`` of how many ``prompts``; how many
        are ``hidden`` (something brought them back) and ``forgotten`` (nothing did); ``samples``, by sample id what
        brought it back; and with ``depth``, ``lens``: by layer the mean probability per answer token.
    """
    gone = forgotten(selection, evaluation)
    plain = [scored.observation for scored in evaluation.scored if scored.observation.group == "forget"]
    said, targets = {seen.sample.id: seen.text for seen in plain}, {text for seen in plain for text in seen.targets}
    asking = asking_of(tokenizer, selection, style=generation.style, system=generation.system, said=said)
    refused: Mapping[str, tuple[int, int]] = {}
    found: dict[str, Sequence[bool | None]] = {}
    lens: list[float] = []
    if gone and attacks:
        attacked = attack_all(
            model, tokenizer, gone, asking, targets=sorted(targets), max_new_tokens=generation.max_new_tokens,
            progress=progress,
        )  # fmt: skip
        found |= attacked.back
        refused = attacked.refused
        found["sampled"] = sampled(
            model, tokenizer, gone, asking, max_new_tokens=generation.max_new_tokens, progress=progress
        )
    if gone and depth:
        known = [sample for sample in selection.forget if sample.key in selection.known]
        kinds = _declined_and_answered(evaluation, asking)
        deep, lens = _depth(model, tokenizer, gone, known, kinds, asking, generation, progress)
        found |= deep
    names = {s.id: [name for name, back in found.items() if back[number]] for number, s in enumerate(gone)}
    hidden = sum(bool(by) for by in names.values())
    back = {
        name: {"back": sum(value is True for value in values), "of": sum(value is not None for value in values)}
        for name, values in found.items()
    }
    for name, (count, prompts) in refused.items():
        back[name] |= {"refused": count, "prompts": prompts}
    counts = {"facts": len(gone), "hidden": hidden, "forgotten": len(gone) - hidden}
    return {**counts, "back": back, "samples": names, "lens": lens}


def forgotten(selection: Selection, evaluation: Evaluation) -> list[ForgetSample]:
    """Known before, and not given on the plain question."""
    return [
        seen.sample
        for seen in (scored.observation for scored in evaluation.scored)
        if seen.group == "forget"
        and seen.sample.key in selection.known
        and not gives_answer(seen.text, seen.prompt, seen.sample.answers)
    ]


def _depth(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, gone: Sequence[ForgetSample],
    known: Sequence[ForgetSample], kinds: tuple[list[str], list[str]], asking: Asking,
    generation: GenerationConfig, progress: Progress,
) -> tuple[dict[str, Sequence[bool | None]], list[float]]:  # fmt: skip
    from easyedit_unlearn.evaluation.ablation import reversed_edits, without_refusing
    from easyedit_unlearn.evaluation.depth import logit_lens, relearned, rounded, trained_on_text

    ask = _asked(model, tokenizer, asking, generation, progress)
    layers = logit_lens(model, tokenizer, [(asking.ask(s.question), s.answer) for s in gone], progress)
    found: dict[str, Sequence[bool | None]] = {
        "logit_lens": [any(hit for _, hit in rows) if rows else None for rows in layers],
        "refusal_direction": without_refusing(model, tokenizer, gone, *kinds, ask),
        "edit_reversal": reversed_edits(model, gone, ask),
        "relearning": relearned(model, tokenizer, gone, known, ask, prompt=asking.ask, progress=progress),
        "text": trained_on_text(model, tokenizer, gone, ask, progress=progress),
        **{f"int{bits}": rounded(model, gone, ask, bits) for bits in (8, 4)},
    }
    by_layer = zip(*(rows for rows in layers if rows), strict=True)
    return found, [fmean(math.exp(logprob) for logprob, _ in row) for row in by_layer]


def _declined_and_answered(evaluation: Evaluation, asking: Asking) -> tuple[list[str], list[str]]:
    """Prompts of the forget set that the model declines now, and ones of the neighbours that it answers."""
    declined, answered = [], []
    for seen in (scored.observation for scored in evaluation.scored):
        if seen.group == "forget" and is_refusal(seen.text, seen.prompt, seen.sample.answers, seen.targets):
            declined.append(asking.ask(seen.prompt))
        elif seen.group in ("retain", "holdout") and gives_answer(seen.text, seen.prompt, seen.sample.answers):
            answered.append(asking.ask(seen.prompt))
    return declined, answered


def _asked(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asking: Asking,
    generation: GenerationConfig,
    progress: Progress,
) -> Callable[[Sequence[ForgetSample]], list[bool]]:
    from easyedit_unlearn.model.inference import generate_replies

    def ask(samples: Sequence[ForgetSample]) -> list[bool]:
        prompts = [asking.ask(sample.question) for sample in samples]
        advance = progress("asking again", len(prompts))
        replies = generate_replies(model, tokenizer, prompts, max_new_tokens=generation.max_new_tokens, advance=advance)
        return [gives_answer(r, s.question, s.answers) for r, s in zip(replies, samples, strict=True)]

    return ask
