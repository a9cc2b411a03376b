"""The whole flow for one or more hparams: select known facts, evaluate, unlearn, evaluate again, put back."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any

from easyedit_unlearn.components import Metric, Progress, SetMetric, no_progress
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.errors import ConfigError, DataError, DivergenceError
from easyedit_unlearn.evaluation.editing import Predictions, editing_metrics, editing_pairs, predictions
from easyedit_unlearn.evaluation.probes import probe
from easyedit_unlearn.evaluation.reference import matching_scores, write_log
from easyedit_unlearn.evaluation.scoring import evaluate
from easyedit_unlearn.evaluation.stored import Stored
from easyedit_unlearn.experiment.alike import with_groups
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.knowledge import Knowledge
from easyedit_unlearn.experiment.measure import Measured
from easyedit_unlearn.experiment.refusals import Refusals
from easyedit_unlearn.experiment.requests import check_subjects, prepare
from easyedit_unlearn.experiment.rows import advice, described, evaluation_row, records
from easyedit_unlearn.experiment.subjects import found_subjects, with_subjects
from easyedit_unlearn.host.retain import with_responses
from easyedit_unlearn.host.running import import_host, make_editor, run_edits, undone_after
from easyedit_unlearn.model.lowrank import LowRank
from easyedit_unlearn.model.prompting import format_prompt, resolve_style
from easyedit_unlearn.plugins.load import Plugins, default_plugins
from easyedit_unlearn.results import Results, Row, row_of
from easyedit_unlearn.tasks.splits import Source, check_disjoint, pick
from easyedit_unlearn.types import Evaluation, ForgetSample, ModelPair, PreTrainedModel, Scores, Selection, Target

_AS_IT_STANDS: Row = {"method": "as it stands", "label": "as it stands"}


class Run:
    """One experiment: a model, disjoint sets, and any number of methods, each starting from the same weights.

    Of the last method: ``system_prompt`` is what it has the model told before every question, ``lora`` what its LoRA
    adapters added.
    """

    def __init__(
        self,
        model: ModelPair,
        config: EvalConfig,
        *,
        label: str | None = None,
        plugins: Plugins | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self.model, self.tokenizer = model
        self.config, self.progress = config, progress
        self.label = label or str(self.model.name_or_path or "model")
        self.plugins = plugins or default_plugins()
        found = list(self.plugins.metrics)
        self.metrics = [metric for metric in found if isinstance(metric, Metric)]
        self.set_metrics = [metric for metric in found if isinstance(metric, SetMetric)]
        self._store = Stored(*model) if config.remember else None
        self.knowledge = Knowledge(model, config.generation, progress, self._store)
        self.refusals = Refusals(model, progress)
        self.selection = Selection(())
        self.system_prompt: str | None = None
        self.lora: LowRank | None = None
        self.results = Results(date=date.today().isoformat())
        self._before: Evaluation | None = None
        self._reference: Scores | None = None
        self._said: list[tuple[Row, Evaluation]] = []
        self._predicted: Predictions | None = None

    def select(self, sources: Mapping[str, Source] | None = None, *, must_know: bool = True) -> Selection:
        """Cut the sets of the config, or others, asking the model what it knows. Who is only evaluated need know
        nothing.

        Raises:
            DataError: the sets overlap, a split asks for more than the model knows, or the model knows nothing of
                the forget set and must know something; or a set holds plain texts, which are only evaluated.
        """
        named = dict(sources or self.config.sources(self.plugins))
        forget = named.pop("forget")
        chosen = pick(forget, self.knowledge.of)
        others = {name: pick(source, self.knowledge.of, chosen) for name, source in named.items()}
        check_disjoint(forget=chosen, **others)
        asking = must_know or self.config.attacks or self.config.depth
        if asking and any(sample.is_text for one in (chosen, *others.values()) for sample in one):
            raise DataError(
                "plain texts ({'text': ...}) have no question to edit or attack: `easyedit-unlearn evaluate` reads "
                "them, without --attacks and --depth"
            )
        known = self.knowledge.of([*chosen, *(sample for samples in others.values() for sample in samples)])
        if must_know and not any(sample.key in known for sample in chosen):
            raise DataError(
                f"{forget}: the model knows none of these {len(chosen)} facts, so there is nothing to forget"
            )
        retain, holdout = others.pop("retain", []), others.pop("holdout", [])
        chosen, retain, holdout = (list(map(self.knowledge.with_reply, one)) for one in (chosen, retain, holdout))
        self.selection = Selection(chosen, retain, holdout, known, others)
        self._before = self._predicted = None
        if self.config.retain_log is not None:
            self._reference = matching_scores(self.config.retain_log, self.selection, self._asked())
        self.refusals.clear()
        return self.selection

    def check(self, hparams: UnlearnHyperParams) -> None:
        """Raise what would stop ``unlearned`` only after minutes of work: see :func:`requests.check_subjects`."""
        check_subjects(self.selection.forget, self.tokenizer, hparams)

    def evaluate_before(self) -> Evaluation:
        """The untouched model: what every method's row is compared with, kept as ``results.before``."""
        before = self._before = self._evaluate(self.model, replies=self.knowledge.replies, stored=self._store)
        self.results.before = self._row({"method": "before", "label": "before"}, before, before)
        self.results.before["replies"] = self.refusals.replies(before)
        self._able(self.results.before, self.model, None)
        return before

    def evaluate_only(self) -> None:
        """One row for the model as it stands, and its answers; there is no before."""
        replies = None if self.system_prompt else self.knowledge.replies
        found = self._evaluate(self.model, _AS_IT_STANDS["label"], replies, self._store)
        if self.config.as_reference is not None:
            write_log(self.config.as_reference, found, self.selection, self.label, self._asked())
        row = self._row(_AS_IT_STANDS, None, found)
        row["replies"] = self.refusals.replies(found)
        self.results.samples += records(row["label"], self.selection, None, found)
        self.results.rows.append(row)
        self._probe(row, self.model, found)

    @contextmanager
    def unlearned(self, hparams: UnlearnHyperParams) -> Iterator[PreTrainedModel]:
        """Unlearn, evaluate, append the row and the records; the unlearned model exists within, the old one after."""
        with self._edited(hparams, [len(self.selection.forget)]) as steps:
            (model,) = steps
            yield model

    def growing(self, hparams: UnlearnHyperParams, sizes: Sequence[int]) -> Iterator[Row]:
        """The row after each of so many facts of one sequence of edits: what is forgotten grows, what is retained and
        held out is the same. Queries are merged within a step; seconds and requests add up.

        Raises:
            ConfigError: the method does not edit one request after the other. DataError: there is a reference log.
        """
        if self.config.retain_log is not None:
            raise DataError("a reference log is of one forget set, not of a growing one")
        if hparams.unlearn.mode != "sequential":
            raise ConfigError(
                "a growing forget set is edited in sequence", key="unlearn.mode", value=hparams.unlearn.mode
            )
        with self._edited(hparams, sizes) as steps:
            for _ in steps:
                yield self.results.rows[-1]

    def stopped(self, hparams: UnlearnHyperParams, error: DivergenceError) -> None:
        """A row for a method that diverged: what it was and why it stopped. The model is as it was."""
        about = described(hparams, str(import_host()))
        row = self._row(about, self._before, Evaluation([], float("nan")))
        stopped = {"label": f"{about['label']}: stopped", "ppl_after": None, "stopped": str(error)}
        self.results.rows.append(row_of(row, stopped))

    @contextmanager
    def _edited(self, hparams: UnlearnHyperParams, sizes: Sequence[int]) -> Iterator[Iterator[PreTrainedModel]]:
        """Within, an iterator that unlearns and evaluates up to each of ``sizes``; all is put back afterwards."""
        before, whole = self._before or self.evaluate_before(), self.selection
        if self._predicted is None:
            kept = editing_pairs(before, ())["locality"]
            self._predicted = predictions(self.model, self.tokenizer, kept, self._plain, self._named("before"))
        self._said.clear()
        try:
            named = with_subjects(self.model, self.tokenizer, whole.forget, hparams, self.progress)
            hparams = with_groups(self.model, self.tokenizer, named, hparams)
            about = row_of(described(hparams, str(import_host())), found_subjects(whole.forget, named))
            forget = self._with_replies(named, hparams)
            retain = self._with_replies(whole.retain, hparams) if hparams.method.reads_retain else whole.retain
            self.selection = replace(whole, forget=forget, retain=retain)
            with undone_after(self.model, hparams, self.progress):
                targets = self.refusals.of(forget, hparams.unlearn)
                used = hparams.method.uses_targets
                about["refusals"] = self.refusals.quality(whole.forget, targets) if used else None
                yield self._steps(hparams, sizes, targets, about, before)
            for row, after in self._said:  # by the untouched model, which is here again
                row["replies"] = self.refusals.replies(after, whole.forget)
        finally:
            self.selection = whole
            gc.collect()

    def _with_replies(self, samples: Sequence[ForgetSample], hparams: UnlearnHyperParams) -> Sequence[ForgetSample]:
        """With the replies that methods train on, of the untouched model; and on disk for the next one."""
        if hparams.unlearn.answers == "dataset":
            return samples
        return with_responses(self.model, self.tokenizer, samples, hparams.unlearn, self.progress, self._store)

    def _steps(
        self, hparams: UnlearnHyperParams, sizes: Sequence[int], targets: Sequence[Target], about: Row,
        before: Evaluation,
    ) -> Iterator[PreTrainedModel]:  # fmt: skip
        mine, whole, editor = copy.copy(hparams), self.selection, None
        mine.model_name = (self.model, self.tokenizer)
        seconds, memory, requests = 0.0, 0.0, 0
        used = targets if hparams.method.uses_targets else ()
        for start, stop in pairwise((0, *sizes)):
            with Measured() as cost:
                editor = editor or make_editor(mine)
                made = prepare(editor, whole.forget[start:stop], whole.retain or None, targets[start:stop])
                run_edits(editor, made.arguments, self.progress)
            seconds, memory = seconds + cost.seconds, max(memory, cost.peak_memory_mb)
            requests += len(made.requests)
            self.selection = replace(whole, forget=whole.forget[:stop])
            self.lora = editor.unlearning_state.get("lora")
            self.system_prompt = hparams.method.system_prompt(whole.forget[:stop], targets[:stop], hparams)
            after = self._evaluate(editor.model, about["label"], targets=used)
            row = row_of(
                self._row(about, before, after),
                {"n_requests": requests, "seconds": seconds, "peak_memory_mb": memory},
                {"attainment": editor.unlearning_state.get("attainment")},
                self._editing(editor.model, before, used),
            )
            row = row_of(row, advice(row, hparams))
            self.results.rows.append(row)
            self._said.append((row, after))
            self.results.samples += records(about["label"], self.selection, before, after, used)
            self._probe(row, editor.model, after)
            yield editor.model

    def _asked(self) -> dict[str, Any]:
        style = resolve_style(self.tokenizer, self.config.prompt)
        config = self.config
        return {"prompt": style, "max_new_tokens": config.max_new_tokens, "score_end": config.score_end}

    def _evaluate(
        self, model: PreTrainedModel, name: str = "before", replies: Mapping[str, str] | None = None,
        stored: Stored | None = None, targets: Sequence[Target] = (),
    ) -> Evaluation:  # fmt: skip
        how = replace(self.config.generation, system=self.system_prompt if name != "before" else None)
        return evaluate(
            model, self.tokenizer, self.selection, self.metrics, how, progress=self._named(name), replies=replies,
            stored=stored, targets=targets,
        )  # fmt: skip

    def _editing(
        self, model: PreTrainedModel, before: Evaluation, targets: Sequence[Target]
    ) -> dict[str, float | None]:
        forget = {sample.id for sample in self.selection.forget}
        pairs = editing_pairs(before, [target for target in targets if target.sample_id in forget])
        untouched = self._predicted or {}
        return editing_metrics(model, self.tokenizer, pairs, self._prompt, untouched, self._named("after"))

    def _plain(self, question: str) -> str:
        return format_prompt(self.tokenizer, question, self.config.prompt)

    def _prompt(self, question: str) -> str:
        return format_prompt(self.tokenizer, question, self.config.prompt, system=self.system_prompt)

    def _probe(self, row: Row, model: PreTrainedModel, after: Evaluation) -> None:
        """Into the row, what brings back the forgotten facts, where that was asked for."""
        self._able(row, model, self.system_prompt)
        if not (self.config.attacks or self.config.depth):
            return
        how = replace(self.config.generation, system=self.system_prompt)
        row["probes"] = probe(
            model, self.tokenizer, self.selection, after, attacks=self.config.attacks, depth=self.config.depth,
            generation=how, progress=self._named(row["label"]),
        )  # fmt: skip

    def _able(self, row: Row, model: PreTrainedModel, system: str | None) -> None:
        """Into the row, what the model can do beside, where that was asked for."""
        if not self.config.lm_eval:
            return
        from easyedit_unlearn.evaluation.abilities import abilities, known_tasks

        row["abilities"] = abilities(
            model, self.tokenizer, known_tasks(self.config.lm_eval), limit=self.config.lm_eval_limit, system=system,
            progress=self._named(row["label"]),
        )  # fmt: skip

    def _named(self, name: str) -> Progress:
        return lambda what, total: self.progress(f"{name}: {what}", total)

    def _row(self, about: Row, before: Evaluation | None, after: Evaluation) -> Row:
        about = row_of(about, {"model": self.label})
        return evaluation_row(about, self.selection, before, after, self.metrics, self.set_metrics, self._reference)
