"""Every number about a model as it stands, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.results import Results
from easyedit_unlearn.types import PreTrainedModel, PreTrainedTokenizerBase


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    config: EvalConfig | str,
    *,
    known: Mapping[str, bool] | None = None,
    replies: Mapping[str, str] | None = None,
    system_prompt: str | None = None,
    label: str | None = None,
    plugins: Plugins | None = None,
    progress: Progress = no_progress,
) -> Results:
    """Every metric of the registry on every group, the model being left as it is::

        results = evaluate(model, tokenizer, "factual:forget20")
        results.rows[0]["means"]["answer_prob"]["forget"]  # mean, n, 95 % interval

    Args:
        config: the sets and how they are asked; a text is the forget set alone.
        known: which facts (``ForgetSample.key``) were known before it was unlearned; the others are asked of it now.
        replies: what it said then, by question: two of the attacks begin with it.
        system_prompt: said before every question (what an ICR run leaves beside its checkpoint).
        label: what the row calls the model; by default its name or path.

    Raises:
        DataError: a set cannot be read, sets overlap, or the reference log is of other questions.
        UnknownNameError: no such task.
    """
    config = EvalConfig(config) if isinstance(config, str) else config
    run = Run((model, tokenizer), config, label=label, plugins=plugins, progress=progress)
    run.knowledge.recall(known or {}, replies)
    run.select(must_know=False)
    run.system_prompt = system_prompt
    run.evaluate_only()
    run.results.status = "complete"
    return run.results
