"""What the command line does, without its argument parsing."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from rich.console import Console
from rich.text import Text

from easyedit_unlearn.api import build_targets
from easyedit_unlearn.checkpoints import Asked, further_groups
from easyedit_unlearn.checkpoints import evaluate as evaluate_model
from easyedit_unlearn.components import Stage
from easyedit_unlearn.errors import DataError, DivergenceError, OutputExistsError, UnlearnError
from easyedit_unlearn.evaluation.alignment import Judge, align, load_encoder, summary
from easyedit_unlearn.evaluation.probes import NO_PROBES, Probing
from easyedit_unlearn.evaluation.processes import Process, together
from easyedit_unlearn.evaluation.reference import read_log
from easyedit_unlearn.host.locate import check_model_name
from easyedit_unlearn.hparams import UnlearnHyperParams
from easyedit_unlearn.models import EMBEDDED, load_model, placement
from easyedit_unlearn.pipeline import Run
from easyedit_unlearn.plugins import Plugins
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.report.pages import FILES, write_report
from easyedit_unlearn.report.terminal import print_metrics, print_probes, print_refusals, print_report
from easyedit_unlearn.rows import Results
from easyedit_unlearn.saving import ADAPTER, KNOWLEDGE, SYSTEM_PROMPT, save_unlearned
from easyedit_unlearn.storage import json_text, prepare_output, remove_outputs, write_outputs
from easyedit_unlearn.tasks.splits import Source, parse_source

DEMO_HPARAMS = ("ROME/smollm2-135m", "GradDiff/smollm2-135m")
NOT_RECORDED = (
    "note: which facts count is asked of this very model. If it was unlearned, name the model it came from with "
    "--reference, or facts it has forgotten will not be counted."
)
Sets = tuple[str, str | None, str | None]
"""Forget, retain and holdout, as the command line names them."""

DEMO_SETS: Sets = ("facts:forget5", "facts:retain10", "facts:holdout10")


def demo(out: Path, *, overwrite: bool, plugins: Plugins, command: str) -> None:
    """ROME through EasyEdit and GradDiff, on the embedded model and the bundled facts."""
    hparams = [UnlearnHyperParams.from_hparams(name, plugins=plugins) for name in DEMO_HPARAMS]
    unlearn(hparams, DEMO_SETS, EMBEDDED, out, overwrite=overwrite, plugins=plugins, command=command, save=False)


def unlearn(
    hparams: Sequence[UnlearnHyperParams],
    sets: Sets,
    model: Any,
    out: Path,
    *,
    overwrite: bool,
    plugins: Plugins,
    command: str,
    save: bool,
    retain_log: Path | None = None,
    probing: Probing = NO_PROBES,
    gradnorm: bool = False,
    also: Mapping[str, str] | None = None,
) -> None:
    """Run every hparams on one model and write the report; with ``save``, the (last) unlearned model as well.

    Whatever was finished when something fails, Ctrl-C included, is in ``results.json``; the model is put back.
    """
    forget, retain, holdout = sources(sets, hparams, plugins)
    others = further_groups(also or {}, plugins)
    if retain_log is not None:
        read_log(retain_log)
    if any(one.engine == "host" for one in hparams):
        check_model_name(model)
    prepare_output(out, overwrite=overwrite, names=(*FILES, "model", ADAPTER))
    settings = hparams[0].unlearn
    with Bars(Console(file=sys.stderr)) as bars:
        loading = bars.stage(f"loading {_label(model)}", 1)
        pair = load_model(model, **placement(hparams[0]))
        loading(1)
        run = Run(
            pair, _label(model), style=settings.prompt, max_new_tokens=settings.max_new_tokens, plugins=plugins,
            stage=bars.stage, retain_log=retain_log, probing=probing, gradnorm=gradnorm, remember=True,
        )  # fmt: skip
        run.results.command = command
        run.results.hparams = {h.alg_name: _as_run(h) for h in hparams}
        run.select(forget, retain, holdout, others=others)  # what fails until here leaves earlier results as they are
        with _recorded(run, out):
            run.evaluate_before()
            for one in hparams:
                try:
                    with run.unlearned(one) as unlearned:
                        write_report(run.results.as_dict(), out)
                        if save:
                            _save(run, unlearned, out)
                except DivergenceError as error:
                    run.stopped(one, error)
                    if len(hparams) == 1:
                        raise
    print_report(Console(file=sys.stdout), run.results.as_dict())
    for row in run.results.rows:
        print_probes(Console(file=sys.stdout), row)
    files = [*FILES, *["model/"] * save]
    files += [f"{ADAPTER}/"] * (save and run.lora is not None)
    print(f"\nwritten: {out}/{', '.join(files)}")  # noqa: T201


def _save(run: Run, unlearned: Any, out: Path) -> None:
    """The checkpoint with what must be known of it, and the adapters of a LoRA run beside it."""
    save_unlearned(run, unlearned, out / "model")
    if run.lora is not None:
        from easyedit_unlearn.baselines.lora import save_lora

        save_lora(run.lora, out / ADAPTER, base=unlearned.name_or_path)


def evaluate(
    model: str, asked: Asked, out: Path | None, *, reference: str | None, overwrite: bool, plugins: Plugins,
    command: str,
) -> None:  # fmt: skip
    """One row for a checkpoint as it stands, and every metric on every group.

    The sets are cut by what the model knew before it was unlearned: from the checkpoint's own record, which ``run``
    writes beside it, or by asking ``reference``. With neither, the checkpoint itself is asked, and a note says so.
    """
    asked.sources(plugins)  # what cannot be read is told before a model is loaded
    if asked.retain_log is not None:
        read_log(asked.retain_log)
    if asked.as_reference is not None and asked.as_reference.exists() and not overwrite:
        raise OutputExistsError(f"{asked.as_reference} is there already; --overwrite replaces it")
    if asked.as_reference is not None and asked.as_reference.exists():
        read_log(asked.as_reference)  # whatever else is there is not ours to replace
    with together() as here:
        if out is not None and here.main:
            prepare_output(out, overwrite=overwrite, names=FILES)
        console = Console(file=sys.stderr, quiet=not here.main)
        with Bars(console) as bars:
            results = _evaluated(model, asked, reference, plugins, bars.stage, console, here)
        results.command = command
        if not here.main:
            return
    if out is not None:
        write_report(results.as_dict(), out)
    console = Console(file=sys.stdout)
    print_report(console, results.as_dict())
    print_metrics(console, results.rows[-1], plugins.metrics)
    print_probes(console, results.rows[-1])


def _evaluated(
    model: str, asked: Asked, reference: str | None, plugins: Plugins, stage: Stage, console: Console, here: Process
) -> Results:
    known, replies = _recorded_knowledge(Path(model)), None
    if reference is not None:
        before = asked.run(load_model(reference, device=here.device), _label(reference), plugins, stage)
        asked.select(before, plugins)
        known, replies = before.knowledge(), before.replies()
    elif known is None and asked.as_reference is None:
        console.print(Text(NOT_RECORDED, style="yellow"), soft_wrap=True)
    said = Path(model) / SYSTEM_PROMPT
    system_prompt = said.read_text(encoding="utf-8") if said.is_file() else None
    return evaluate_model(
        *load_model(model, device=here.device), asked, known=known, replies=replies, system_prompt=system_prompt,
        label=_label(model), plugins=plugins, stage=stage,
    )  # fmt: skip


def targets(
    hparams: UnlearnHyperParams, forget: str, model: Any, out: Path | None, *, overwrite: bool, plugins: Plugins,
    encoder: str | None, judge: Judge | None,
) -> None:  # fmt: skip
    """Build the refusals and score them, without unlearning anything."""
    source = parse_source(forget, plugins.tasks)
    scorer = load_encoder(encoder) if encoder else None
    if out is not None:
        prepare_output(out, overwrite=overwrite, names=["refusals.json"])
    with Bars(Console(file=sys.stderr)) as bars:
        pair = load_model(model, **placement(hparams))
        run = Run(pair, _label(model), style=hparams.unlearn.prompt, plugins=plugins, stage=bars.stage)
        samples = run.select(source).forget
        built = build_targets(samples, hparams.unlearn, *pair, stage=bars.stage)
        rows = align(samples, built, *pair, encoder=scorer, judge=judge)
    if out is not None:
        text = json_text({"summary": summary(rows), "refusals": [asdict(row) for row in rows]})
        write_outputs(out, {"refusals.json": text.encode("utf-8")})
    print_refusals(Console(file=sys.stdout), rows, summary(rows))


def _as_run(hparams: UnlearnHyperParams) -> str:
    """The file, and what was given in its place."""
    given = [f"# given instead: {key}: {json.dumps(value, default=str)}" for key, value in hparams.overrides.items()]
    return "\n".join([*given, Path(hparams.source_file).read_text(encoding="utf-8")])


def _recorded_knowledge(model: Path) -> dict[str, bool] | None:
    """What ``run`` wrote beside a checkpoint. Raises DataError when somebody else wrote something there."""
    path = model / KNOWLEDGE
    if not path.is_file():
        return None
    try:
        return TypeAdapter(dict[str, bool]).validate_json(path.read_bytes(), strict=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is not a record of known facts; delete it or name --reference") from error


def sources(
    sets: Sets, hparams: Sequence[UnlearnHyperParams], plugins: Plugins
) -> tuple[Source, Source | None, Source | None]:
    """The three sources that ``sets`` name; a retain set that the call does not name is the hparams' own."""
    forget = parse_source(sets[0], plugins.tasks)
    retain, holdout = (parse_source(text, plugins.tasks) if text else None for text in sets[1:])
    retain = retain or next((h.unlearn.retain for h in hparams if h.unlearn.retain), None)
    lacking = [h.alg_name for h in hparams if h.method.needs_retain and retain is None]
    if lacking:
        raise UnlearnError(f"{', '.join(lacking)} needs retain data: add --retain TASK[:SPLIT]|FILE")
    return forget, retain, holdout


def _label(model: Any) -> str:
    return "SmolLM2-135M-Instruct (embedded)" if model == EMBEDDED else str(model)


@contextmanager
def _recorded(run: Run, out: Path) -> Iterator[None]:
    """Write the results however the work ends. SIGTERM ends it like Ctrl-C: restored and recorded."""
    if (out / "model" / KNOWLEDGE).is_file():  # an earlier run's model must not stand beside this run's results
        for folder in ("model", ADAPTER):
            remove_outputs(out / folder)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    results = run.results
    try:
        yield
        results.status = "complete"
    except KeyboardInterrupt:
        results.status, results.message = (
            "interrupted",
            "Interrupted; finished methods are kept, the model is put back.",
        )
        raise
    except Exception as error:
        results.status, results.message = "failed", f"{type(error).__name__}: {error}"
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
        write_report(results.as_dict(), out)


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt
