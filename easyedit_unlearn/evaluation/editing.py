"""What an editing paper reports of the same run, as EasyEdit computes it: shares of tokens that are the likeliest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.types import Evaluation, ForgetSample, PreTrainedModel, PreTrainedTokenizerBase, Target

EDITING = ("reliability", "generality", "locality", "portability")
Pair = tuple[str, str]
"""A question and the text after which, token by token, the model is asked what comes next."""
EditingPairs = Mapping[str, Sequence[Pair]]
Predictions = Mapping[Pair, tuple[tuple[int, ...], tuple[int, ...]]]
"""The likeliest token at each of the text's, and the text's own."""


def editing_pairs(before: Evaluation, targets: Sequence[Target]) -> EditingPairs:
    """What is looked at where (EasyEdit's rewrite_acc, rephrase_acc, locality and portability):

    reliability: the target on its question. generality: on its rephrases. locality: the holdout set's answers on their
    questions. portability: the data set's follow-up question, where the target is the counterfactual that it follows
    from (zsRE); a refusal has none.
    """
    wanted = {target.sample_id: target.text for target in targets if target.text}
    found: dict[str, list[Pair]] = {name: [] for name in EDITING}
    names = {"forget": "reliability", "rephrase": "generality"}
    for scored in before.scored:
        seen, sample = scored.observation, scored.observation.sample
        if seen.group == "holdout" and not sample.is_text:
            found["locality"].append((seen.prompt, sample.answer))
        elif seen.group in names and sample.id in wanted:
            found[names[seen.group]].append((seen.prompt, wanted[sample.id]))
            if seen.group == "forget" and sample.extras.get("alternative") == wanted[sample.id]:
                found["portability"] += _follow_up(sample)
    return found


def predictions(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], ask: Callable[[str], str],
    progress: Progress = no_progress,
) -> Predictions:  # fmt: skip
    """What the model predicts at each of the text's tokens, after the true ones before it. ``ask`` turns a question
    into the text the model is given."""
    from easyedit_unlearn.model.forced import predicted

    different = list(dict.fromkeys(pairs))
    if not different:
        return {}
    encoded = [_joined(tokenizer, ask(question), text) for question, text in different]
    advance = progress("editing metrics", len(different))
    found = predicted(model, tokenizer, encoded, advance)
    return {pair: (said, tuple(own)) for pair, said, (_, own) in zip(different, found, encoded, strict=True)}


def editing_metrics(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: EditingPairs, ask: Callable[[str], str],
    before: Predictions, progress: Progress = no_progress,
) -> dict[str, float | None]:  # fmt: skip
    """By name, the mean share of tokens that are the text's, for locality those that the untouched model predicted too:
    on it, locality is 1. None where there is no pair.

    Args:
        pairs: from :func:`editing_pairs`. before: of the untouched model, of locality's pairs.
    """
    after = predictions(model, tokenizer, [pair for rows in pairs.values() for pair in rows], ask, progress)

    def share(name: str, pair: Pair) -> float | None:
        said, own = after[pair]
        wanted = before[pair][0] if name == "locality" else own
        equal = [a == b for a, b in zip(said, wanted, strict=False)]  # a long text may be cut
        return fmean(equal) if equal else None

    return {name: _mean([share(name, pair) for pair in rows]) for name, rows in pairs.items()}


def _joined(tokenizer: PreTrainedTokenizerBase, prompt: str, text: str) -> tuple[list[int], list[int]]:
    """As EasyEdit encodes them: in one, by a space whatever the prompt ends in, the text's tokens being those past the
    prompt's number."""
    whole, begins = list(tokenizer(f"{prompt} {text}").input_ids), len(tokenizer(prompt).input_ids)
    return whole[:begins], whole[begins:]


def _follow_up(sample: ForgetSample) -> list[Pair]:
    given = sample.extras.get("portability")
    found = [given.get(key) for key in ("question", "answer")] if isinstance(given, dict) else []
    question, answer = (text if isinstance(text, str) else "" for text in (found or ("", "")))
    return [(question, answer)] if question and answer else []


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return fmean(defined) if defined else None
