"""What a row and a record of ``results.json`` say about the run that made them."""

from __future__ import annotations

from collections.abc import Sequence

from easyedit_unlearn.components import Metric, SetMetric
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.config.settings import UnlearnSettings
from easyedit_unlearn.evaluation.aggregate import paired, summarise, whole
from easyedit_unlearn.evaluation.scoring import by_question
from easyedit_unlearn.results import UNDESCRIBED, Record, Row, measure, row_of
from easyedit_unlearn.types import Evaluation, Scores, Selection, Target
from easyedit_unlearn.versions import versions


def evaluation_row(
    about: Row,
    selection: Selection,
    before: Evaluation | None,
    after: Evaluation,
    metrics: Sequence[Metric],
    set_metrics: Sequence[SetMetric],
    reference: Scores | None,
) -> Row:
    """What was run, on how many facts, and what came of it; what it cost is filled in later."""
    counts: Row = {
        "n_forget": len(selection.forget),
        "n_known": sum(s.key in selection.known for s in selection.forget),
        "n_retain": len(selection.retain),
        "n_holdout": len(selection.holdout),
    }
    measures = {
        **summarise(after, metrics, selection.known),
        **whole(after, metrics, set_metrics, reference),
        "change": paired(before, after, metrics) if before and before is not after else None,
        "ppl_before": before.perplexity if before else None,
        "ppl_after": after.perplexity,
    }
    unmeasured: Row = {"seconds": None, "peak_memory_mb": None, "versions": versions()}
    return row_of(UNDESCRIBED, about, counts, measures, unmeasured)


def advice(row: Row, hparams: UnlearnHyperParams) -> Row:
    """The next step, where more than half of the facts known before are still given."""
    rate = measure(row, "forget_answer_rate")
    if rate is None or rate <= 0.5:
        return {}
    known = row["n_known"]
    others = " or ".join(name for name in ("AlphaEdit", "GRACE", "WISE") if name != hparams.alg_name)
    return {
        "advice": f"{round(rate * known)} of {known} known facts are still given: these settings do not fit this model "
        f"or this set. Search better ones with `easyedit-unlearn tune MODEL --method {hparams.alg_name}`, or try "
        f"{others}"
    }


def described(hparams: UnlearnHyperParams, host: str) -> Row:
    """Method, engine and recipe. ``label`` is the method, in what it departs from the published one, and what of its
    recipe is not the default."""
    settings = hparams.unlearn
    target, merge = settings.builder.name, _merging(settings)
    parts = [*hparams.method.departures(hparams), *[target] * (target != "fixed"), *[merge] * (merge != "none")]
    return {
        "method": hparams.alg_name,
        "label": f"{hparams.alg_name} ({', '.join(parts)})" if parts else hparams.alg_name,
        "host": host,
        "engine": hparams.engine,
        "mode": settings.mode,
        "target": target,
        "merge": merge,
        "seed": settings.seed,
    }


def _merging(settings: UnlearnSettings) -> str:
    """The merger with what it was told; of ``auto``, how many questions share a value, or that none do."""
    name, options = settings.merger.name, settings.merger_options
    if name == "auto":
        sizes = [len(group) for group in getattr(options, "groups", ()) if len(group) > 1]
        return f"auto: {sum(sizes)} share {len(sizes)}" if sizes else "none"
    size, grouping = (getattr(options, key, None) for key in ("size", "grouping"))
    return " ".join([name, *([str(size)] * bool(size)), *([str(grouping)] * (grouping not in (None, "order")))])


def records(
    label: str, selection: Selection, before: Evaluation | None, after: Evaluation, targets: Sequence[Target] = ()
) -> list[Record]:
    """One record a prompt; ``label``: the row's."""
    earlier = by_question(before) if before else {}
    refusals = {target.sample_id: target for target in targets}
    found: list[Record] = []
    for scored in after.scored:
        seen = scored.observation
        first = earlier.get((seen.group, seen.prompt or seen.sample.answer))
        target = refusals.get(seen.sample.id) if seen.group in ("forget", "rephrase") else None
        found.append(
            {
                "method": label,
                "group": seen.group,
                "id": seen.sample.id,
                "known": seen.sample.key in selection.known,
                "question": seen.prompt,
                "answer": seen.sample.answer,
                "aliases": list(seen.sample.aliases),
                "target": target.text if target else None,
                "target_origin": target.origin if target else None,
                "before": first.observation.text if first else None,
                "after": seen.text,
                "scores_before": dict(first.scores) if first else None,
                "scores_after": dict(scored.scores),
            }
        )
    return found
