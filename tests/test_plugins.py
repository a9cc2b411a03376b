"""Hooks and registry: isolation, duplicates, disabling. No torch."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from easyedit_unlearn import ForgetSample, Task, hookimpl
from easyedit_unlearn.components import BuildContext
from easyedit_unlearn.errors import DuplicateComponentError, PluginError, UnknownNameError
from easyedit_unlearn.plugins import hookspecs
from easyedit_unlearn.plugins.load import load_plugins

sys.path.insert(0, str(Path(__file__).parent / "fixture_plugin"))


class Rivers(Task):
    name, summary = "rivers", "Rivers."

    def samples(self, options):
        return [ForgetSample(id="1", question="q", answer="a")]


def plugin(**hooks):
    """A throw-away module; a hook's value is what it returns, or the exception it raises."""
    module = ModuleType("in_test_plugin")
    for name, outcome in hooks.items():
        setattr(module, name, hookimpl(_hook(outcome)))
    return module


def _hook(outcome):
    def hook():
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return hook


def load(*pairs, **options):
    return load_plugins(pairs, use_entry_points=False, **options)


def test_built_ins_come_through_the_same_hooks():
    plugins = load()
    assert plugins.infos[0].hooks and plugins.infos[0].status == "active"
    assert [task.name for task in plugins.tasks] == [
        "facts",
        "factual",
        "jsonl",
        "knowundo",
        "muse",
        "people",
        "pii",
        "pistol",
        "tofu",
        "zsre",
    ]
    assert plugins.methods.owner("GradDiff") == "builtin"


def test_hooks_and_exports_keep_the_names_they_had():
    import easyedit_unlearn

    hooks = {name for name in vars(hookspecs) if name.startswith("easyedit_unlearn_")}
    assert hooks == {
        f"easyedit_unlearn_{kind}" for kind in ("tasks", "target_builders", "query_mergers", "methods", "metrics")
    }
    assert easyedit_unlearn.Asked is easyedit_unlearn.EvalConfig
    context = BuildContext(progress=lambda what, total: (what, total))
    assert context.stage("writing", 3) == ("writing", 3)


@pytest.mark.model
def test_everything_that_is_promised_can_be_imported():
    import easyedit_unlearn

    assert all(hasattr(easyedit_unlearn, name) for name in easyedit_unlearn.__all__)


def test_one_fixture_plugin_adds_one_of_each_kind():
    import unlearn_fixture_plugin

    plugins = load(("fixture", unlearn_fixture_plugin))
    assert plugins.infos[-1].components == [
        "methods:Erase", "metrics:words", "query_mergers:reversed", "target_builders:shrug", "tasks:rivers",
    ]  # fmt: skip
    assert plugins.methods.owner("Erase") == "fixture"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (plugin(easyedit_unlearn_tasks=RuntimeError("boom")), "RuntimeError: boom"),
        (plugin(easyedit_unlearn_tasks=None), "must return a list"),
        (plugin(easyedit_unlearn_tasks=["x"]), "must return instances of Task"),
        (plugin(easyedit_unlearn_taskz=[]), "easyedit_unlearn_taskz"),
        (ModuleType("empty"), "implements no hook"),
    ],
)
def test_a_broken_plugin_is_named_and_skipped_and_strict_raises(broken, said):
    plugins = load(("bad", broken), ("good", plugin(easyedit_unlearn_tasks=[Rivers()])))
    (info,) = plugins.broken
    assert info.name == "bad"
    assert said in info.error
    assert "rivers" in plugins.tasks
    with pytest.raises(PluginError, match="bad"):
        load(("bad", broken), strict=True)


def test_a_plugin_that_breaks_late_leaves_nothing_behind():
    half = plugin(easyedit_unlearn_tasks=[Rivers()], easyedit_unlearn_metrics=ValueError("late"))
    plugins = load(("half", half))
    assert "rivers" not in plugins.tasks
    assert plugins.broken[0].components == []


def test_an_entry_point_that_fails_to_import_does_not_stop_the_next(monkeypatch):
    points = [
        EntryPoint("a-bad", "no_such_module_anywhere", "easyedit_unlearn"),
        EntryPoint("b-good", "unlearn_fixture_plugin", "easyedit_unlearn"),
        EntryPoint("b-good", "unlearn_fixture_plugin", "easyedit_unlearn"),
    ]
    monkeypatch.setattr("easyedit_unlearn.plugins.load.entry_points", lambda group: points)
    plugins = load_plugins()
    assert [(i.name, i.status) for i in plugins.infos[1:]] == [
        ("a-bad", "broken"), ("b-good", "active"), ("b-good", "broken"),
    ]  # fmt: skip
    assert "already called" in plugins.infos[-1].error


def test_built_ins_that_did_not_load_are_loaded_the_next_time(monkeypatch):
    """Whatever stopped them, out of memory say, was no fault of theirs: without them nothing works."""
    import easyedit_unlearn.plugins.load as module

    whole, failing = module._components_of, [RuntimeError("once")]

    def first_fails(info, plugin):
        if failing:
            raise failing.pop()
        return whole(info, plugin)

    monkeypatch.setattr(module, "_components_of", first_fails)
    fresh = cache(module.load_plugins)
    with pytest.raises(RuntimeError, match="once"):
        fresh()
    assert "facts" in fresh().tasks


def test_two_owners_of_one_name_are_both_named():
    module = plugin(easyedit_unlearn_tasks=[Rivers()])
    other = plugin(easyedit_unlearn_tasks=[Rivers()])
    with pytest.raises(DuplicateComponentError, match="'rivers': first and second"):
        load(("first", module), ("second", other))
    assert "rivers" in load(("first", module), ("second", other), disabled=["second"]).tasks


def test_the_environment_disables(monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_DISABLE", "one, builtin")
    plugins = load(("one", plugin(easyedit_unlearn_tasks=[Rivers()])))
    assert [info.status for info in plugins.infos] == ["disabled", "disabled"]
    assert len(plugins.tasks) == 0


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'facts'"):
        load().tasks.get("fact")
    with pytest.raises(UnknownNameError, match="Did you mean 'ROME'"):
        load().methods.get("rome")
