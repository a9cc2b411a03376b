"""The three lines: ``result = unlearn(model, forget=[...])``, and what it gives back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from easyedit_unlearn.components import Options
from easyedit_unlearn.config.derive import hparams_name
from easyedit_unlearn.environment import ONE_AT_A_TIME
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.experiment.choosing import Samples, chosen_method, nearest_first, off_topic, source_of
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.resolve import for_model, is_file, with_text
from easyedit_unlearn.experiment.result import UnlearnResult
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.experiment.topics import Topic, asked_about
from easyedit_unlearn.model.device import free_memory
from easyedit_unlearn.model.edits import Snapshot
from easyedit_unlearn.model.load import Precision, load_model, placed
from easyedit_unlearn.plugins.load import Plugins, default_plugins
from easyedit_unlearn.progress import Bars
from easyedit_unlearn.tasks.facts import Facts
from easyedit_unlearn.tasks.given import GivenSamples
from easyedit_unlearn.tasks.splits import Source, load, parse_split, pick
from easyedit_unlearn.types import ModelPair, ModelSpec

KEPT = 20
"""Of the bundled facts that a model knows, at most so many to retain, and as many to hold out."""


def unlearn(
    model: ModelSpec,
    forget: Samples | Topic,
    method: str = "auto",
    *,
    retain: Samples | None = None,
    holdout: Samples | None = None,
    overrides: Mapping[str, Any] | None = None,
    dtype: Precision = "auto",
    device: Any = None,
    device_map: str | None = None,
    plugins: Plugins | None = None,
    progress: bool = True,
) -> UnlearnResult:
    """Make a model forget, and measure what it forgot and what it kept::

        result = unlearn("embedded", forget=["What is the capital of Japan?"], method="AlphaEdit")
        result.ask("What is the capital of Japan?")
        result.save("forgetful")

    Args:
        model: a checkpoint directory, a Hub name, ``"embedded"``, or a (model, tokenizer) pair, which is changed in
            place until ``result.undo()``.
        forget: questions, whose answers are then the model's own; (question, answer) pairs or a mapping of them;
            records with the fields of a file; a ``Topic``, about which the model writes the questions; or a task or
            file by name, ``"facts:forget5"``. ROME and MEMIT need to know what a
            question is about: a record's ``subject``, or else the part of it that the answer hangs on, which is found.
        method: a registered method, whose hparams are those shipped for this model or derived from it; or a path or
            shipped name of hparams; or ``"auto"``, which chooses by the number of facts and the memory that is free
            (``result.why``).
        retain: what a method may train on to keep, in the same forms. By default bundled facts that the model knows and
            that share no name with what is to be forgotten, nearest in wording first: what suffers first must be seen.
        holdout: what is only evaluated, likewise; the two take these facts in turn.
        overrides: in place of what the hparams say, by dotted key: ``{"unlearn.target": {"builder": "self_improve"}}``.
        dtype: of a model that is loaded here, such as "bfloat16"; by default its checkpoint's own.
        device: such as "cuda:1"; by default the first CUDA device where there is one.
        device_map: "auto" spreads it over all there is (accelerate).

    Raises:
        DataError: the model does not know what it should forget, or data are malformed.
        ConfigError: no such hparams, or a key they do not have.
        HostError: no EasyEdit is installed.
        DivergenceError: numbers are not finite any more.

    Whatever is raised, Ctrl-C included, the model is bitwise as it was. Calls from several threads follow one another:
    EasyEdit's globals, the random state and what is printed are the process's.
    """
    plugins = plugins or default_plugins()
    with ONE_AT_A_TIME, Bars(Console(file=sys.stderr, quiet=not progress)) as bars:
        pair = model if isinstance(model, tuple) else load_model(model, **placed(device, dtype, device_map))
        asked: dict[str, Source] = {}
        if isinstance(forget, Topic):
            forget, again = asked_about(pair, forget, progress=bars.progress)
            asked = {"again": GivenSamples.source(again)} if again else {}
        goal = source_of(forget, pair, plugins, "forget")
        name, why = _method(method, pair, parse_split(goal.split)[1] or len(load(goal)), plugins)
        hparams = with_text(for_model(name, pair, plugins, overrides), overrides or {}, plugins)
        settings = hparams.unlearn
        config = EvalConfig(goal, prompt=settings.prompt, max_new_tokens=settings.max_new_tokens, remember=True)
        run = Run(pair, config, plugins=plugins, progress=bars.progress)
        run.select({"forget": goal, **_neighbours(run, goal, retain, holdout), **asked})
        run.check(hparams)
        if hparams.method.needs_retain and not run.selection.retain:
            raise UnlearnError(f"{hparams.alg_name} needs retain data, and the model knows no bundled fact: give it")
        run.evaluate_before()
        before = Snapshot(pair[0], hparams.method.parameters(pair[0], hparams))
        with run.unlearned(hparams) as edited:
            edit = before.edit(edited)
    run.results.status = "complete"
    run.results.command = f"unlearn(model, forget, method={method!r})  # {name}"
    try:
        edit.apply(pair[0])
        return UnlearnResult(run, edit, why)
    except BaseException:
        edit.undo(pair[0])
        raise


def _method(method: str, pair: ModelPair, count: int, plugins: Plugins) -> tuple[str, str]:
    """The hparams to read, and why the method was chosen."""
    if is_file(method):
        return method, f"{method}: as asked"
    why = f"{method}: as asked"
    if method == "auto":
        weights = sum(parameter.numel() * parameter.element_size() for parameter in pair[0].parameters())
        from easyedit_unlearn.baselines.precision import training_bytes

        training = training_bytes(pair[0].parameters())
        method, why = chosen_method(count, free_memory(pair[0]), weights, training)
    return hparams_name(method, *pair, plugins), why


def _neighbours(run: Run, goal: Source, retain: Samples | None, holdout: Samples | None) -> dict[str, Source]:
    """What is given; where one of them is not, bundled facts that the model knows, in turn."""
    pair, knows = (run.model, run.tokenizer), run.knowledge.of
    named = {"retain": retain, "holdout": holdout}
    given = {name: source_of(wanted, pair, run.plugins, name) for name, wanted in named.items() if wanted is not None}
    if len(given) == len(named):
        return given
    gone = pick(goal, knows)
    others = [sample for source in given.values() for sample in pick(source, knows, gone)]
    bundled = nearest_first(off_topic(Facts().samples(Options()), [*gone, *others]), gone)
    known = [sample for sample in bundled if sample.key in knows(bundled)]
    for name, mine in (("retain", known[0::2]), ("holdout", known[1::2])):
        if name not in given and mine:
            given[name] = GivenSamples.source(mine[:KEPT])
    return given
