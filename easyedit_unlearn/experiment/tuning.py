"""Search a method's settings for a model on the bundled facts, with Optuna: where no file was made for it."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from easyedit_unlearn.components import Progress, no_progress
from easyedit_unlearn.config.derive import derived
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.evaluation.aggregate import balance
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.resolve import for_model, with_text
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.experiment.space import Choice, search_space
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.results import Row, measure
from easyedit_unlearn.storage import cache_dir, write_text
from easyedit_unlearn.types import ModelPair

INSTALL = 'tuning needs Optuna; run: pip install "easyedit-unlearn[tune]"'
STAGES = ((5, 10), (20, None))
"""Facts to forget, and at most so many to retain and to hold out: a trial that is poor on few is not tried on more."""
MEASURED = ("balance", "forget_answer_rate", "rephrase_answer_rate", "retain_answer_rate", "holdout_answer_rate",
            "attainment", "ppl_after")  # fmt: skip


@dataclass(frozen=True)
class TuneSettings:
    """``trials``: in all, with those of an earlier call that left its journal. ``seconds``: no trial begins after."""

    trials: int = 20
    seconds: float | None = None
    facts: int = 20
    seed: int = 0


def tune(
    model: ModelPair, method: str, out: Path, settings: TuneSettings, *, label: str, plugins: Plugins,
    tell: Callable[[str], None], progress: Progress = no_progress,
) -> Row:  # fmt: skip
    """Search, and write the best settings to ``out`` with their measured figures; the journal of all trials lies
    beside it, and a later call goes on with it.

    The objective is ``balance``, the harmonic mean of what is forgotten, forgotten in other words, retained and kept
    on holdout, on the bundled task ``facts`` alone.

    Raises:
        UnlearnError: Optuna is missing, or no trial came to an end.
    """
    require_optuna()
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    text = derived(method, *model, plugins, label)
    space = search_space(yaml.safe_load(text), model[0])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(out.with_suffix(".journal"))))
    study = optuna.create_study(
        storage=storage, study_name=f"{method} on {label}", direction="maximize", load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=settings.seed, multivariate=True, n_startup_trials=6),
        pruner=optuna.pruners.PercentilePruner(60.0, n_startup_trials=4),
    )  # fmt: skip
    if not study.trials:
        study.enqueue_trial({name: choice.start for name, choice in space.items()})  # the derived file itself
    trying = _Trying(model, method, text, space, settings, plugins, tell, progress)
    left = settings.trials - sum(trial.state.is_finished() for trial in study.trials)
    if left > 0:
        study.optimize(trying, n_trials=left, timeout=settings.seconds, catch=(UnlearnError,), gc_after_trial=True)
    done = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    if not done:
        raise UnlearnError("no trial came to an end: give more --seconds, or more --trials")
    best = study.best_trial
    row: Row = json.loads(best.user_attrs["row"])
    write_text(out, _written(text, best.user_attrs["overrides"], row, len(study.trials)))
    return row


def require_optuna() -> None:
    """Raise UnlearnError with the command that installs it."""
    if importlib.util.find_spec("optuna") is None:
        raise UnlearnError(INSTALL)


class _Trying:
    """One trial: settings from Optuna, first on a few facts, then on all; a line for each."""

    def __init__(
        self, model: ModelPair, method: str, text: str, space: Mapping[str, Choice], settings: TuneSettings,
        plugins: Plugins, tell: Callable[[str], None], progress: Progress,
    ) -> None:  # fmt: skip
        self._pair, self._method, self._text, self._space = model, method, text, space
        self._settings, self._plugins, self._tell, self._progress = settings, plugins, tell, progress
        self._runs: list[Run] = []

    def __call__(self, trial: Any) -> float:
        import optuna

        given: dict[str, Any] = {}
        for name, choice in self._space.items():
            given |= choice.sets(trial.suggest_float(name, choice.low, choice.high, log=choice.log))
        shown = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in given.items())
        try:
            for number, run in enumerate(self._stages()):
                row = self._row(run, given)
                score = float(balance(row) or 0.0)  # of few facts too: they only say whether to go on
                trial.report(score, number)
                if run is not self._runs[-1] and trial.should_prune():
                    self._tell(
                        f"trial {trial.number}: {score:.0%} on {STAGES[number][0]} facts, not gone on with; {shown}"
                    )
                    raise optuna.TrialPruned
        except UnlearnError as error:
            self._tell(f"trial {trial.number}: {' '.join(str(error).split())[:160]}; {shown}")
            raise
        trial.set_user_attr("overrides", given)
        trial.set_user_attr(
            "row",
            json.dumps({key: measure(row, key) for key in (*MEASURED, "n_known", "seconds")} | {"balance": score}),
        )
        self._tell(f"trial {trial.number}: balance {score:.0%} ({_figures(row)}); {shown}")
        return score

    def _stages(self) -> list[Run]:
        """Made once: the sets do not depend on the trial."""
        if not self._runs:
            for facts, kept in STAGES:
                size = min(facts, self._settings.facts)
                if any(run.config.forget == f"facts:forget{size}" for run in self._runs):
                    continue
                names = (f"facts:retain{kept or ''}", f"facts:holdout{kept or ''}")
                run = Run(
                    self._pair, EvalConfig(f"facts:forget{size}", *names, remember=True), plugins=self._plugins,
                    progress=self._progress,
                )  # fmt: skip
                run.select()
                run.evaluate_before()
                self._runs.append(run)
        return self._runs

    def _row(self, run: Run, given: Mapping[str, Any]) -> Row:
        overrides = {**given, "unlearn.retain": None}
        hparams = for_model(str(self._file()), self._pair, self._plugins, overrides)
        hparams = with_text(hparams, overrides, self._plugins)
        with run.unlearned(hparams):
            pass
        return run.results.rows[-1]

    def _file(self) -> Path:
        name = hashlib.sha256(self._text.encode()).hexdigest()[:12]  # two searches at once are of two files
        path = cache_dir() / "hparams" / self._method / f"tuning-{name}.yaml"
        write_text(path, self._text)
        return path


def _figures(row: Row) -> str:
    names = {"forget": "given", "rephrase": "rephrases given", "retain": "retain kept", "holdout": "holdout kept"}
    parts = []
    for group, said in names.items():
        rate = measure(row, f"{group}_answer_rate")
        parts += [f"{said} {rate:.0%}"] if rate is not None and not math.isnan(rate) else []
    return ", ".join(parts)


def _written(text: str, overrides: Mapping[str, Any], row: Row, trials: int) -> str:
    """The derived file with the best values, and what they gave."""
    values = yaml.safe_load(text)
    made = copy.deepcopy(values)
    for key, value in overrides.items():
        *path, last = key.split(".")
        block = made
        for part in path:
            block = block.setdefault(part, {})
        block[last] = value
    about = [
        f"# {values['alg_name']} on {values['model_name']}: the best of {trials} trials on the bundled task `facts`.",
        f"# Measured there, on {row['n_known']} known facts: balance {row.get('balance') or 0:.0%}; {_figures(row)}.",
    ]
    return "\n".join([*about, yaml.safe_dump(made, sort_keys=False, default_flow_style=None, width=120)])
