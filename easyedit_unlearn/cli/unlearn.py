"""``run``: unlearn, evaluate, write the report and the model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from easyedit_unlearn.cli.questions import TOPIC, about_topic
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.environment import terminable
from easyedit_unlearn.errors import DivergenceError
from easyedit_unlearn.evaluation.reference import read_log
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.plan import check_before
from easyedit_unlearn.experiment.resolve import for_model, is_file, read_hparams
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.experiment.saving import save_unlearned
from easyedit_unlearn.experiment.topics import Topic
from easyedit_unlearn.model.checkpoint import ADAPTER, KNOWLEDGE
from easyedit_unlearn.model.embedded import MODELS
from easyedit_unlearn.model.load import load_model, placement
from easyedit_unlearn.model.lowrank import save_lora
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.report.pages import FILES, write_report
from easyedit_unlearn.report.table import table_columns
from easyedit_unlearn.report.terminal import print_probes, print_report
from easyedit_unlearn.storage import prepare_output, remove_outputs, strangers, write_outputs
from easyedit_unlearn.types import ModelPair

Named = tuple[str, Mapping[str, Any]]
"""Hparams as they are named, and what is given in place of what stands there."""


def unlearn(
    named: Sequence[Named], config: EvalConfig, model: Any, out: Path, *, overwrite: bool, plugins: Plugins,
    command: str, save: bool, record_questions: bool = False, topic: Topic | None = None,
) -> None:  # fmt: skip
    """Run every hparams on one model and write the report; with ``save``, the (last) unlearned model as well, whose
    record names what was to be forgotten by hashes or with ``record_questions`` in clear. ``topic``: in place of the
    config's forget set, about which the model first writes questions, to ``TOPIC`` in ``out``.

    Whatever was finished when something fails, Ctrl-C included, is in ``results.json``; the model is put back.
    """
    if config.retain_log is not None:
        read_log(config.retain_log)
    read = [read_hparams(name, plugins, overrides) for name, overrides in named]
    check_before(
        read, config, plugins, out=out, model=model, derived=not all(is_file(name) for name, _ in named)
    )  # what is wrong is told before a model is loaded
    prepare_output(out, overwrite=overwrite, names=(*FILES, "model", ADAPTER, TOPIC))
    with Bars(Console(file=sys.stderr)) as bars:
        pair = loaded(model, bars, placement(read[0]))
        hparams = [for_model(name, pair, plugins, overrides) for name, overrides in named]
        asked = None
        if topic is not None:
            config, asked = about_topic(topic, pair, config, bars.progress)
        run = Run(pair, config, label=label_of(model), plugins=plugins, progress=bars.progress)
        run.results.command = command
        run.results.hparams = {one.alg_name: as_run(one) for one in hparams}
        run.select()
        for one in hparams:
            run.check(one)  # what fails until here leaves earlier results as they are
        with _recorded(run, out):
            _note_topic(out, asked)
            run.evaluate_before()
            for one in hparams:
                try:
                    with run.unlearned(one) as unlearned:
                        write_report(run.results, out, plugins.metrics)
                        if save:
                            _save(run, unlearned, out, record_questions)
                except DivergenceError as error:
                    run.stopped(one, error)
                    if len(hparams) == 1:
                        raise
    print_report(Console(file=sys.stdout), run.results, table_columns(plugins.metrics))
    for row in run.results.rows:
        print_probes(Console(file=sys.stdout), row)
    files = [
        *FILES,
        *[TOPIC] * (topic is not None),
        *["model/"] * save,
        *[f"{ADAPTER}/"] * (save and run.lora is not None),
    ]
    print(f"\nwritten: {out}/{', '.join(files)}")  # noqa: T201


def _note_topic(out: Path, asked: bytes | None) -> None:
    """What was asked about a topic, for good; of a run without one, none of an earlier run's is left."""
    if asked is not None:
        write_outputs(out, {TOPIC: asked})
    elif TOPIC not in strangers(out):
        (out / TOPIC).unlink(missing_ok=True)


def _save(run: Run, unlearned: Any, out: Path, clear: bool) -> None:
    """The checkpoint with what must be known of it, and the adapters of a LoRA run beside it."""
    save_unlearned(run, unlearned, out / "model", clear=clear)
    if run.lora is not None:
        save_lora(run.lora, out / ADAPTER, base=unlearned.name_or_path)


def as_run(hparams: UnlearnHyperParams) -> str:
    """The file, and what was given in its place."""
    given = [f"# given instead: {key}: {json.dumps(value, default=str)}" for key, value in hparams.overrides.items()]
    return "\n".join([*given, Path(hparams.source_file).read_text(encoding="utf-8")])


def loaded(model: Any, bars: Bars, where: Mapping[str, Any]) -> ModelPair:
    """The model that is named, with a bar. ``where``: as ``placement`` gives it."""
    advance = bars.progress(f"loading {label_of(model)}", 1)
    pair = load_model(model, **where)
    advance(1)
    return pair


def label_of(model: Any) -> str:
    known = MODELS.get(model) if isinstance(model, str) else None
    return known.label if known else str(model)


@contextmanager
def _recorded(run: Run, out: Path) -> Iterator[None]:
    """Write the results however the work ends. SIGTERM ends it like Ctrl-C: restored and recorded."""
    if (out / "model" / KNOWLEDGE).is_file():  # an earlier run's model must not stand beside this run's results
        for folder in ("model", ADAPTER):
            remove_outputs(out / folder)
    results = run.results
    try:
        with terminable():
            yield
        results.status = "complete"
    except KeyboardInterrupt:
        results.status = "interrupted"
        results.message = "Interrupted; finished methods are kept, the model is put back."
        raise
    except Exception as error:
        results.status, results.message = "failed", f"{type(error).__name__}: {error}"
        raise
    finally:
        write_report(results, out, run.plugins.metrics)
