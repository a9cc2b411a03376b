"""What an editing paper reports of the same run, as EasyEdit counts it: shares of tokens that are the likeliest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.evaluation.formulas import exact_memorization
from easyedit_unlearn.types import Evaluation, ForgetSample, PreTrainedModel, PreTrainedTokenizerBase, Target

EDITING = ("reliability", "generality", "locality", "portability")
EditingPairs = Mapping[str, Sequence[tuple[str, str]]]


def editing_metrics(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: EditingPairs,
    ask: Callable[[str], str],
    progress: Progress = no_progress,
) -> dict[str, float | None]:
    """By name, the mean share of tokens said greedily after the true ones before them; None where there is no pair.

    Args:
        pairs: from :func:`editing_pairs`. ask: turns a question into the text the model is given.
    """
    from easyedit_unlearn.model.forced import answer_tokens

    asked = [(ask(question), text) for rows in pairs.values() for question, text in rows]
    if not asked:
        return dict.fromkeys(pairs)
    found = iter(answer_tokens(model, tokenizer, asked, advance=progress("editing metrics", len(asked))))
    shares = {name: [exact_memorization(next(found)) for _ in rows] for name, rows in pairs.items()}
    return {name: _mean(values) for name, values in shares.items()}


def editing_pairs(before: Evaluation, targets: Sequence[Target]) -> EditingPairs:
    """What is to be said where (EasyEdit's rewrite_acc, rephrase_acc, locality and portability):

    reliability: the target on its question. generality: on its rephrases. locality: on the holdout set, what the model
    said before. portability: the data set's follow-up question, where the target is the counterfactual that it follows
    from (zsRE); a refusal has none.
    """
    wanted = {target.sample_id: target.text for target in targets if target.text}
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in EDITING}
    names = {"forget": "reliability", "rephrase": "generality"}
    for scored in before.scored:
        seen, sample = scored.observation, scored.observation.sample
        if seen.group == "holdout" and seen.text:
            found["locality"].append((seen.prompt, seen.text))
        elif seen.group in names and sample.id in wanted:
            found[names[seen.group]].append((seen.prompt, wanted[sample.id]))
            if seen.group == "forget" and sample.extras.get("alternative") == wanted[sample.id]:
                found["portability"] += _follow_up(sample)
    return found


def _follow_up(sample: ForgetSample) -> list[tuple[str, str]]:
    given = sample.extras.get("portability")
    found = [given.get(key) for key in ("question", "answer")] if isinstance(given, dict) else []
    question, answer = (text if isinstance(text, str) else "" for text in (found or ("", "")))
    return [(question, answer)] if question and answer else []


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return fmean(defined) if defined else None
