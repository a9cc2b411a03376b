"""What can be told before a model is loaded: that all data can be read, and what would be done."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easyedit_unlearn.components import BuildContext
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.editors.corpus import DEFAULT, has_corpus
from easyedit_unlearn.errors import ConfigError, DataError, UnlearnError
from easyedit_unlearn.evaluation.abilities import known_tasks
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.subjects import needs_subjects
from easyedit_unlearn.plugins.load import Plugins
from easyedit_unlearn.tasks.data import data_dir
from easyedit_unlearn.tasks.splits import Source, check_disjoint, load, parse_split
from easyedit_unlearn.types import ForgetSample


@dataclass(frozen=True)
class Plan:
    """``facts``: what would be done, a name and a value each. ``samples``: question, subject and refusal of each to be
    forgotten, as far as no model is needed to tell."""

    facts: Sequence[tuple[str, str]]
    samples: Sequence[tuple[str, str, str]]


def check_before(
    hparams: Sequence[UnlearnHyperParams], config: EvalConfig, plugins: Plugins, *, out: Path | None = None,
    model: Any = None, derived: bool = False,
) -> dict[str, list[ForgetSample]]:  # fmt: skip
    """All samples of each set, before they are cut by what a model knows. ``derived``: the hparams are a method's name
    alone, whose text may be the retain set.

    Raises:
        DataError: a set cannot be read, is smaller than its split asks for, or two that are taken as they stand
            overlap.
        ConfigError: statistics need text, and none is named; or lm-evaluation-harness has no such task.
        UnlearnError: the disk has no room for the model.
    """
    if config.lm_eval:
        known_tasks(config.lm_eval)
    sources = config.sources(plugins)
    found = {name: load(source) for name, source in sources.items()}
    for name, source in sources.items():
        size = parse_split(source.split)[1]
        if size is not None and size > len(found[name]):
            raise DataError(f"{source}: the task has only {len(found[name])} samples")
    fixed = {name: _as_it_stands(source, found[name]) for name, source in sources.items()}
    check_disjoint(**{name: samples for name, samples in fixed.items() if samples})
    for one in hparams:
        _check_text(one, config, derived)
    if out is not None:
        _check_room(out, _weights(model))
    return found


def planned(
    hparams: UnlearnHyperParams, config: EvalConfig, plugins: Plugins, found: Mapping[str, Sequence[ForgetSample]],
    model: Any, out: Path,
) -> Plan:  # fmt: skip
    """``found``: what :func:`check_before` gave."""
    settings, sources = hparams.unlearn, config.sources(plugins)
    named = {key: getattr(hparams, key, None) for key in ("layers", "layer", "inner_params", "target_modules")}
    asked = sum(
        (parse_split(sources[name].split)[1] or len(samples)) * (1 + (name == "forget"))
        for name, samples in found.items()
    )
    weights = _weights(model)
    facts = [
        ("method", f"{hparams.alg_name} ({hparams.engine} engine), {hparams.source_file}"),
        ("model", f"{model}" + (f", {weights / 1e9:.1f} GB on disk" if weights else "")),
        *((key, str(value)) for key, value in named.items() if value),
        ("refusals", settings.builder.name),
        ("merging", settings.merger.name),
        *((name, _sized(source, found[name])) for name, source in sources.items()),
        ("prompts", f"about {asked}, before and after, of at most {config.max_new_tokens} tokens"),
        ("written", f"{out}/model, results and pages"),
    ]
    return Plan(facts, _samples(hparams, sources["forget"], found["forget"]))


def _samples(
    hparams: UnlearnHyperParams, source: Source, samples: Sequence[ForgetSample]
) -> list[tuple[str, str, str]]:
    settings, wanted = hparams.unlearn, needs_subjects(hparams)
    shown = samples[: parse_split(source.split)[1]]
    try:
        groups = settings.merger.groups(shown, settings.merger_options)
        built = settings.builder.build_groups(groups, settings.builder_options, BuildContext(settings.seed))
        refusals = {target.sample_id: target.text for target in built}
    except UnlearnError:  # it asks the model
        refusals = {}
    later = "the model writes it" if settings.builder.name == "self_improve" else "-"
    none = "found by cause" if wanted else "-"
    return [(s.question, s.subject or none, refusals.get(s.id, later)) for s in shown]


def _sized(source: Source, samples: Sequence[ForgetSample]) -> str:
    if source.split.startswith(("all", "first")):
        return f"{source}: {len(_as_it_stands(source, samples))} questions"
    return f"{source}: of {len(samples)} questions those that the model knows"


def _as_it_stands(source: Source, samples: Sequence[ForgetSample]) -> Sequence[ForgetSample]:
    """What a split takes without asking a model; nothing of one that asks."""
    kind, size = parse_split(source.split)
    return samples if kind == "all" else samples[:size] if kind == "first" else ()


def _check_text(hparams: UnlearnHyperParams, config: EvalConfig, derived: bool) -> None:
    native = hparams.unlearn.native
    if hparams.method.engine != "native" or not hparams.method.needs_text(hparams):
        return
    if native.corpus == "retain" and config.retain is None:
        raise ConfigError(
            f"{hparams.alg_name} takes its text from the retain set, and there is none: add --retain",
            key="unlearn.native.corpus", value=native.corpus,
        )  # fmt: skip
    if native.corpus is None and not has_corpus(native) and not (derived and config.retain is not None):
        raise ConfigError(
            f"{hparams.alg_name} needs text to know what it must not disturb: name a file, retain or hub:NAME, or set "
            f"EASYEDIT_UNLEARN_DATA to a data directory with {DEFAULT} ({data_dir() or 'unset'} now)",
            key="unlearn.native.corpus",
        )
    if native.corpus and native.corpus != "retain" and not native.corpus.startswith("hub:"):
        path = Path(native.corpus).expanduser()
        if not path.is_file():
            raise DataError(f"{path}: no such file (unlearn.native.corpus)")


def _weights(model: Any) -> int:
    """Bytes of a local checkpoint's weights; 0 where that cannot be told."""
    folder = Path(str(model))
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0


def _check_room(out: Path, needed: int) -> None:
    folder = next((path for path in (out, *out.resolve().parents) if path.is_dir()), None)
    free = shutil.disk_usage(folder).free if folder else needed
    if free < needed:
        raise UnlearnError(
            f"--out {out}: the model takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free there"
        )
