"""The whole flow for one or more hparams: select known facts, evaluate, unlearn, evaluate again, put back."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyedit_unlearn import api
from easyedit_unlearn.components import Metric, SetMetric, Stage, no_progress
from easyedit_unlearn.errors import ConfigError, DataError, DivergenceError
from easyedit_unlearn.evaluation.aggregate import paired, summarise, whole
from easyedit_unlearn.evaluation.alignment import align, summary
from easyedit_unlearn.evaluation.editing import editing_metrics, editing_pairs
from easyedit_unlearn.evaluation.evaluate import ask_all, evaluate, knows
from easyedit_unlearn.evaluation.observe import Manner
from easyedit_unlearn.evaluation.probes import NO_PROBES, Probing, probe
from easyedit_unlearn.evaluation.reference import matching_scores, write_log
from easyedit_unlearn.evaluation.stored import Stored
from easyedit_unlearn.hparams import UnlearnHyperParams
from easyedit_unlearn.measure import Measured
from easyedit_unlearn.plugins import Plugins, default_plugins
from easyedit_unlearn.prompting import PromptStyle, format_prompt, resolve_style
from easyedit_unlearn.rows import Results, described, measured_row, records
from easyedit_unlearn.tasks.splits import Source, check_disjoint, pick
from easyedit_unlearn.types import Evaluation, ForgetSample, Scores, Selection, Target

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from easyedit_unlearn.baselines.lora import LowRank
    from easyedit_unlearn.models import Pair


class Run:
    """One model, three disjoint sets, and any number of methods, each starting from the same weights.

    Of the last method: ``system_prompt`` is what it has the model told before every question, ``lora`` what its LoRA
    adapters added. ``remember``: whether what the untouched model says is kept on disk. ``probing``: what else is done
    to bring the facts back. ``retain_log``: the scores of a model that
    never saw the forget set (``evaluation.reference``).
    """

    def __init__(
        self,
        model: Pair,
        label: str,
        *,
        style: PromptStyle = "auto",
        max_new_tokens: int = 48,
        gradnorm: bool = False,
        remember: bool = False,
        plugins: Plugins | None = None,
        stage: Stage = no_progress,
        retain_log: Path | None = None,
        probing: Probing = NO_PROBES,
    ) -> None:
        self.model, self.tokenizer = model
        self.label, self.retain_log, self.probing, self.stage = label, retain_log, probing, stage
        self.manner = Manner(style, None, max_new_tokens, gradnorm)
        self._stored = Stored(*model) if remember else None
        found = list((plugins or default_plugins()).metrics)
        self.metrics = [metric for metric in found if isinstance(metric, Metric)]
        self.set_metrics = [metric for metric in found if isinstance(metric, SetMetric)]
        self.selection = Selection(())
        self.system_prompt: str | None = None
        self.lora: LowRank | None = None
        self._before: Evaluation | None = None
        self.results = Results()
        self._reference: Scores | None = None
        self._said_before: Mapping[str, str] = {}
        self._replies: dict[str, str] = {}
        self._known: dict[str, bool] = {}
        self._refusals: dict[str, list[Target]] = {}
        self._alignment: dict[str, dict[str, Any]] = {}

    def select(
        self,
        forget: Source,
        retain: Source | None = None,
        holdout: Source | None = None,
        *,
        others: Mapping[str, Source] | None = None,
        may_know_nothing: bool = False,
    ) -> Selection:
        """Cut the sets, asking the model what it knows; what is known of an earlier selection's answers is kept.

        Raises:
            DataError: the sets overlap, a split asks for more than the model knows, or the model knows nothing of
                the forget set and must know something.
        """
        chosen = pick(forget, self.knows)
        kept = pick(retain, self.knows, chosen) if retain else []
        held = pick(holdout, self.knows, chosen) if holdout else []
        more = {name: pick(source, self.knows, chosen) for name, source in (others or {}).items()}
        check_disjoint(forget=chosen, retain=kept, holdout=held, **more)
        known = self.knows([*chosen, *kept, *held, *(sample for samples in more.values() for sample in samples)])
        if not may_know_nothing and not any(sample.key in known for sample in chosen):
            raise DataError(
                f"{forget}: the model knows none of these {len(chosen)} facts, so there is nothing to forget"
            )
        chosen, kept, held = ([self._with_reply(s) for s in group] for group in (chosen, kept, held))
        self.selection, self._before = Selection(chosen, kept, held, known, more), None
        if self.retain_log is not None:
            self._reference = matching_scores(self.retain_log, self.selection, self._asked())
        self._refusals.clear()
        return self.selection

    def knowledge(self) -> dict[str, bool]:
        """Which of the facts asked so far the model knew, by their keys."""
        return dict(self._known)

    def replies(self) -> dict[str, str]:
        """What the model said to the questions asked so far."""
        return dict(self._replies)

    def recall(self, known_before: Mapping[str, bool], replies: Mapping[str, str] | None = None) -> None:
        """Cut sets by what a model knew before it was unlearned; what is not listed is asked of this model. ``replies``
        are what that model said, by question."""
        self._known.update(known_before)
        self._said_before = replies or {}

    def evaluate_before(self) -> Evaluation:
        """The untouched model: what every method's row is compared with, kept as ``results.before``."""
        before = self._before = self._evaluate(self.model, replies=self._replies, stored=self._stored)
        self.results.before = self._row({"method": "before", "label": "before"}, before, before)
        return before

    def evaluate_only(self, log: Path | None = None) -> None:
        """One row for the model as it stands, and its answers; there is no before. Its scores are written to ``log``,
        for others to be compared with."""
        replies = None if self.system_prompt else self._replies
        name = "as it stands"
        found = self._evaluate(self.model, name, self.system_prompt, replies, self._stored)
        if log is not None:
            write_log(log, found, self.selection, self.label, self._asked())
        row = self._row({"method": name, "label": name}, None, found)
        self.results.rows.append(row)
        self.results.samples += records(name, self.selection, None, found)
        row |= self._probed(self.model, name, found)

    @contextmanager
    def unlearned(self, hparams: UnlearnHyperParams) -> Iterator[PreTrainedModel]:
        """Unlearn, evaluate, append the row and the records; the unlearned model exists within, the old one after."""
        with self._edited(hparams, [len(self.selection.forget)]) as steps:
            (model,) = steps
            yield model

    def stopped(self, hparams: UnlearnHyperParams, error: DivergenceError) -> None:
        """A row for a method that diverged: what it was and why it stopped. The model is as it was."""
        from easyedit_unlearn.host.running import import_host

        about = described(hparams, str(import_host()))
        row = self._row(about, self._before, Evaluation([], float("nan")))
        stopped = {"label": f"{about['label']}: stopped", "ppl_after": None, "stopped": str(error)}
        self.results.rows.append(row | stopped)

    def growing(self, hparams: UnlearnHyperParams, sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The row after each of so many facts of one sequence of edits: what is forgotten grows, what is retained and
        held out is the same. Queries are merged within a step; seconds and requests add up.

        Raises:
            ConfigError: the method does not edit one request after the other. DataError: there is a reference log.
        """
        if self.retain_log is not None:
            raise DataError("a reference log is of one forget set, not of a growing one")
        if hparams.unlearn.mode != "sequential":
            raise ConfigError(
                "a growing forget set is edited in sequence", key="unlearn.mode", value=hparams.unlearn.mode
            )
        with self._edited(hparams, sizes) as steps:
            for _ in steps:
                yield self.results.rows[-1]

    @contextmanager
    def _edited(self, hparams: UnlearnHyperParams, sizes: Sequence[int]) -> Iterator[Iterator[PreTrainedModel]]:
        """Within, an iterator that unlearns and evaluates up to each of ``sizes``; all is put back afterwards."""
        from easyedit_unlearn.host.running import import_host, undone_after

        before, whole = self._before or self.evaluate_before(), self.selection
        about = described(hparams, str(import_host()))
        try:
            with undone_after(self.model, hparams, self.stage):
                targets = self._targets(hparams)
                about["refusals"] = self._aligned(targets) if hparams.method.uses_targets else None
                yield self._steps(hparams, sizes, targets, about, before)
        finally:
            self.selection = whole
            gc.collect()

    def _steps(
        self,
        hparams: UnlearnHyperParams,
        sizes: Sequence[int],
        targets: Sequence[Target],
        about: dict[str, Any],
        before: Evaluation,
    ) -> Iterator[PreTrainedModel]:
        from easyedit_unlearn.host.running import make_editor, run_edits

        mine, whole, editor = copy.copy(hparams), self.selection, None
        mine.model_name = (self.model, self.tokenizer)
        seconds, memory, requests = 0.0, 0.0, 0
        for start, stop in pairwise((0, *sizes)):
            with Measured() as cost:
                editor = editor or make_editor(mine)
                made = api.prepare(editor, whole.forget[start:stop], whole.retain or None, targets[start:stop])
                run_edits(editor, made.arguments, self.stage)
            seconds, memory = seconds + cost.seconds, max(memory, cost.peak_memory_mb)
            requests += len(made.requests)
            self.selection = replace(whole, forget=whole.forget[:stop])
            self.lora = editor.hparams.history.get("lora")
            self.system_prompt = hparams.method.system_prompt(whole.forget[:stop], targets[:stop], hparams)
            after = self._evaluate(editor.model, about["label"], self.system_prompt)
            row = self._row(about | {"n_requests": requests}, before, after)
            used = targets if hparams.method.uses_targets else ()
            row |= {"seconds": seconds, "peak_memory_mb": memory, **self._editing(editor.model, before, used)}
            self.results.rows.append(row)
            self.results.samples += records(about["label"], self.selection, before, after, used)
            row |= self._probed(editor.model, about["label"], after)
            yield editor.model

    def _targets(self, hparams: UnlearnHyperParams) -> list[Target]:
        """Built once a builder and seed, on the untouched model; not timed with the edit."""
        settings = hparams.unlearn
        key = repr((settings.builder.name, settings.builder_options, settings.seed, settings.prompt))
        if key not in self._refusals:
            self._refusals[key] = api.build_targets(
                self.selection.forget, settings, self.model, self.tokenizer, self.stage
            )
        return self._refusals[key]

    def _aligned(self, targets: Sequence[Target]) -> dict[str, Any]:
        """The alignment metrics of the refusals; their perplexity is the untouched model's."""
        key = repr(targets)
        if key not in self._alignment:
            self._alignment[key] = summary(align(self.selection.forget, targets, self.model, self.tokenizer))
        return self._alignment[key]

    def _asked(self) -> dict[str, Any]:
        style = resolve_style(self.tokenizer, self.manner.style)
        return {"prompt": style, "max_new_tokens": self.manner.max_new_tokens}

    def _evaluate(
        self,
        model: PreTrainedModel,
        name: str = "before",
        system: str | None = None,
        replies: Mapping[str, str] | None = None,
        stored: Stored | None = None,
    ) -> Evaluation:
        return evaluate(
            model, self.tokenizer, self.selection, self.metrics, replace(self.manner, system=system),
            stage=self._named(name), replies=replies, stored=stored,
        )  # fmt: skip

    def _editing(
        self, model: PreTrainedModel, before: Evaluation, targets: Sequence[Target]
    ) -> dict[str, float | None]:
        def ask(question: str) -> str:
            return format_prompt(self.tokenizer, question, self.manner.style, system=self.system_prompt)

        forget = {sample.id for sample in self.selection.forget}
        pairs = editing_pairs(before, [target for target in targets if target.sample_id in forget])
        return editing_metrics(model, self.tokenizer, pairs, ask, self._named("after"))

    def _probed(self, model: PreTrainedModel, name: str, after: Evaluation) -> dict[str, Any]:
        """What brings back the forgotten facts, where that was asked for."""
        if not (self.probing.attacks or self.probing.depth):
            return {}
        how, stage = replace(self.manner, system=self.system_prompt), self._named(name)
        return {"probes": probe(model, self.tokenizer, self.selection, after, self.probing, how, stage)}

    def _named(self, name: str) -> Stage:
        return lambda what, total: self.stage(f"{name}: {what}", total)

    def knows(self, samples: Sequence[ForgetSample]) -> frozenset[str]:
        """Which of them the untouched model answers, by key; each is asked once."""
        new = [sample for sample in samples if sample.key not in self._known]
        if new:
            replies = ask_all(
                self.model, self.tokenizer, new, style=self.manner.style, max_new_tokens=self.manner.max_new_tokens,
                stage=self.stage, stored=self._stored,
            )  # fmt: skip
            for sample, reply in zip(new, replies, strict=True):
                self._replies[sample.question], self._known[sample.key] = reply, knows(sample, reply)
        return frozenset(sample.key for sample in samples if self._known[sample.key])

    def _with_reply(self, sample: ForgetSample) -> ForgetSample:
        """The reply just seen, when it holds the fact, is what the model would say: no need to ask again."""
        reply = self._said_before.get(sample.question, self._replies.get(sample.question))
        return (
            sample if sample.response or reply is None or not knows(sample, reply) else replace(sample, response=reply)
        )

    def _row(self, about: Mapping[str, Any], before: Evaluation | None, after: Evaluation) -> dict[str, Any]:
        measures = {
            **summarise(after, self.metrics, self.selection.known),
            **whole(after, self.metrics, self.set_metrics, self._reference),
            "change": paired(before, after, self.metrics) if before and before is not after else None,
            "ppl_before": before.perplexity if before else None,
            "ppl_after": after.perplexity,
        }
        return measured_row({**about, "model": self.label}, self.selection, measures)
