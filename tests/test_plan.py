"""What is wrong with data, text or disk is told before a model is loaded; --dry-run says what would be done."""

from __future__ import annotations

import json
from collections import namedtuple

import pytest
from typer.testing import CliRunner

pytestmark = pytest.mark.model
pytest.importorskip("torch")

from easyedit_unlearn.cli import app
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.errors import ConfigError, DataError, OutputExistsError, UnlearnError
from easyedit_unlearn.experiment import plan
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.plan import check_before
from easyedit_unlearn.plugins.load import default_plugins


def checked(method="NPO/smollm2-135m", overrides=None, forget="facts:forget5", retain="facts:retain5", **more):
    plugins = default_plugins()
    hparams = UnlearnHyperParams.from_hparams(method, plugins=plugins, overrides=overrides)
    return check_before([hparams], EvalConfig(forget, retain), plugins, **more)


@pytest.fixture
def no_data(monkeypatch):
    monkeypatch.delenv("EASYEDIT_UNLEARN_DATA", raising=False)


def test_sets_are_read_first(tmp_path, no_data):
    assert {name: len(samples) for name, samples in checked().items()} == {"forget": 126, "retain": 126}
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"question": "Who?"')
    with pytest.raises(DataError, match="line 1: is not JSON"):
        checked(forget=str(broken))
    with pytest.raises(DataError, match="facts:forget127: the task has only 126 samples"):
        checked(forget="facts:forget127")
    with pytest.raises(DataError, match="overlap"):
        checked(forget="facts:first3", retain="facts:first5")


def test_the_text_for_statistics_is_looked_for_first(tmp_path, no_data):
    with pytest.raises(ConfigError, match="AlphaEdit needs text .* EASYEDIT_UNLEARN_DATA"):
        checked("AlphaEdit/smollm2-135m", retain=None)
    with pytest.raises(ConfigError, match="there is none: add --retain"):
        checked("MEMIT/smollm2-135m", {"unlearn.native.corpus": "retain"}, retain=None)
    with pytest.raises(DataError, match="gone.txt: no such file"):
        checked("ROME/smollm2-135m-native", {"unlearn.native.corpus": str(tmp_path / "gone.txt")})
    checked("AlphaEdit/smollm2-135m", {"unlearn.native.corpus": "retain"})
    with pytest.raises(ConfigError, match="AlphaEdit needs text"):
        checked("AlphaEdit/smollm2-135m")  # a file says what it takes: the retain set must be named
    checked("AlphaEdit/smollm2-135m", derived=True)


def test_a_disk_without_room_is_told_first(tmp_path, no_data, monkeypatch):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(bytes(2000))
    full = namedtuple("Usage", "total used free")(10, 9, 1)
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _folder: full)
    with pytest.raises(UnlearnError, match="the model takes 0.0 GB"):
        checked(out=tmp_path / "out", model=str(model))


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path, no_data):
    mine = tmp_path / "mine.jsonl"
    mine.write_text(json.dumps({"question": "What is the capital of Arda?", "answer": "Minas", "subject": "Arda"}))
    asked = [
        "run",
        "NPO/smollm2-135m",
        "--forget",
        str(mine),
        "--retain",
        "facts:retain5",
        "--out",
        str(tmp_path / "out"),
    ]
    said = CliRunner().invoke(app, [*asked, "--dry-run"])
    assert said.exit_code == 0, said.output
    for text in ("NPO (native engine)", "What is the capital of Arda?", "1 questions", "those that the model knows"):
        assert text in " ".join(said.output.replace("\u2502", " ").split()), text
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "theirs.txt").write_text("x")
    said = CliRunner().invoke(app, [*asked, "--dry-run"])
    assert isinstance(said.exception, OutputExistsError)
    said = CliRunner().invoke(
        app, [*asked[:2], "--forget", str(tmp_path / "none.csv"), "--out", str(tmp_path / "o"), "--dry-run"]
    )
    assert isinstance(said.exception, DataError) and "no such file" in str(said.exception)
