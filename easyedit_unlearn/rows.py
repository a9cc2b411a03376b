"""What a row and a record of ``results.json`` say about the run that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from easyedit_unlearn.environment import versions
from easyedit_unlearn.evaluation.evaluate import by_question
from easyedit_unlearn.types import Evaluation, Selection, Target

if TYPE_CHECKING:
    from easyedit_unlearn.hparams import UnlearnHyperParams

DESCRIPTION: Mapping[str, Any] = {
    "method": "-", "label": "-", "host": "-", "engine": "-", "mode": "-", "target": "-", "merge": "-", "seed": 0,
    "n_requests": 0, "refusals": None,
}  # fmt: skip
"""The columns that tell rows apart; a model as it stands has none of them."""


@dataclass
class Results:
    """What ``results.json`` holds: the untouched model as a row, a row a method, a record a prompt.

    ``status`` is running, complete, failed or interrupted.
    """

    before: dict[str, Any] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    status: str = "running"
    message: str = ""
    command: str = ""
    hparams: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measured_row(about: Mapping[str, Any], selection: Selection, measures: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table: what was run, on how many facts, and what came of it; what it cost is filled in later."""
    return {
        **DESCRIPTION,
        **about,
        "n_forget": len(selection.forget),
        "n_known": sum(s.key in selection.known for s in selection.forget),
        "n_retain": len(selection.retain),
        "n_holdout": len(selection.holdout),
        **measures,
        "seconds": None,
        "peak_memory_mb": None,
        "versions": versions(),
    }


def described(hparams: UnlearnHyperParams, host: str) -> dict[str, Any]:
    """Method, engine and recipe. ``label`` is the method, and what of its recipe is not the default."""
    settings = hparams.unlearn
    target, merge = settings.builder.name, settings.merger.name
    size, grouping = (getattr(settings.merger_options, key, None) for key in ("size", "grouping"))
    merge = " ".join([merge, *([str(size)] * bool(size)), *([str(grouping)] * (grouping not in (None, "order")))])
    parts = [target] * (target != "fixed") + [merge] * (merge != "none")
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


def records(
    label: str,
    selection: Selection,
    before: Evaluation | None,
    after: Evaluation,
    targets: Sequence[Target] = (),
) -> list[dict[str, Any]]:
    """One record a prompt: question, target and who wrote it, the answer before and after, and the scores of both."""
    earlier = by_question(before) if before else {}
    refusals = {target.sample_id: target for target in targets}
    found = []
    for scored in after.scored:
        seen = scored.observation
        first = earlier.get((seen.group, seen.prompt))
        target = refusals.get(seen.sample.id) if seen.group in ("forget", "rephrase") else None
        found.append(
            {
                "method": label,
                "group": seen.group,
                "id": seen.sample.id,
                "known": seen.sample.key in selection.known,
                "question": seen.prompt,
                "answer": seen.sample.answer,
                "target": target.text if target else None,
                "target_origin": target.origin if target else None,
                "before": first.observation.text if first else None,
                "after": seen.text,
                "scores_before": dict(first.scores) if first else None,
                "scores_after": dict(scored.scores),
            }
        )
    return found
