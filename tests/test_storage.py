"""Outputs are complete or absent, and nothing that is not ours is ever replaced or deleted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from easyedit_unlearn.errors import OutputExistsError
from easyedit_unlearn.leftovers import mark, sweep
from easyedit_unlearn.storage import (
    MANIFEST,
    check_output,
    new_directory,
    prepare_output,
    remove_outputs,
    strangers,
    write_outputs,
)


def filled(path):
    with new_directory(path) as folder:
        (folder / "model.safetensors").write_bytes(b"new")
        (folder / "part").mkdir()
        (folder / "part" / "one.json").write_text("{}")
    return path


def test_what_we_wrote_is_replaced_and_a_strangers_file_never(tmp_path):
    out = filled(tmp_path / "out")
    assert strangers(out) == []
    filled(out)
    (out / "part" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"holds part/thesis\.txt, not recorded"):
        check_output(out, overwrite=True)
    with pytest.raises(OutputExistsError, match="thesis"):
        filled(out)
    with pytest.raises(OutputExistsError, match="thesis"):
        remove_outputs(out)
    assert (out / "part" / "thesis.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # nothing half done beside it


def test_a_file_of_our_name_that_is_not_ours_stays(tmp_path):
    (tmp_path / "report.md").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    for write in (
        lambda: prepare_output(tmp_path, overwrite=True, names=["report.md"]),
        lambda: write_outputs(tmp_path, {"results.json": b"{}", "report.md": b"ours"}),
    ):
        with pytest.raises(OutputExistsError, match=r"report\.md"):
            write()
    assert not (tmp_path / "results.json").exists()
    prepare_output(tmp_path, overwrite=True, names=["results.json"])  # what is not touched is in nobody's way
    write_outputs(tmp_path, {"results.json": b"1", "charts/a.svg": b"2"})
    write_outputs(tmp_path, {"results.json": b"3", "charts/a.svg": b"4"})
    assert strangers(tmp_path) == ["notes.txt", "report.md"]
    assert (tmp_path / "report.md").read_text() == "mine"


def test_results_of_results_are_ours_too(tmp_path):
    write_outputs(tmp_path, {"results.json": b"1"})
    filled(tmp_path / "model")
    assert strangers(tmp_path) == []
    check_output(tmp_path, overwrite=True)


def test_what_is_read_is_never_written_over(tmp_path):
    out = filled(tmp_path / "res")
    for inputs in ([out], [out / "part"]):
        with pytest.raises(OutputExistsError, match="which is read"):
            check_output(out, overwrite=True, inputs=inputs)
    check_output(out, overwrite=True, inputs=[tmp_path / "elsewhere", "a-hub/name"])


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    out = filled(tmp_path / "real")
    link = tmp_path / "link"
    link.symlink_to(out)
    filled(link)
    assert link.is_symlink() and (out / "model.safetensors").read_bytes() == b"new"


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": [1]}', "[" * 100_000])
def test_a_manifest_that_does_not_read_names_nothing(text, tmp_path):
    out = filled(tmp_path / "out")
    (out / MANIFEST).write_text(text)
    assert strangers(out) == ["model.safetensors", "part/one.json"]


KILLED = """
import os, signal, sys
from pathlib import Path
from easyedit_unlearn.storage import new_directory

replace = Path.replace

def killed(self, target):
    if {when}:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = killed
with new_directory(Path(sys.argv[1])) as folder:
    (folder / "model.safetensors").write_bytes(b"newer")
"""


def killed(out, when):
    code = KILLED.format(when=when)
    done = subprocess.run([sys.executable, "-c", code, str(out)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_killed_write_leaves_nothing_after_the_next(tmp_path):
    out = filled(tmp_path / "out")
    killed(out, "self.suffix != '.json' and target.name != 'out'")  # before the old is moved away
    assert len(list(tmp_path.iterdir())) == 2 and (out / "model.safetensors").read_bytes() == b"new"
    filled(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_there_comes_back_where_the_new_did_not_take_its_place(tmp_path):
    out = filled(tmp_path / "out")
    killed(out, "target.name == 'out'")
    assert not out.exists()
    sweep(out)
    assert (out / "model.safetensors").read_bytes() == b"new" and strangers(out) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_only_what_the_dead_left_is_swept_away(tmp_path):
    out, host = tmp_path / "out", mark(tmp_path / "out").split(".")[2].rpartition("-")[0]
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = [f".out.{host}-{os.getpid()}.x", f".out.elsewhere-{dead.pid}.x", ".out.notes", f".other.{host}-{dead.pid}.x"]
    for name in (*kept, f".out.{host}-{dead.pid}.x"):
        (tmp_path / name).write_text("")
    (tmp_path / f".out.{host}-{dead.pid}.dir").mkdir()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and len(list(tmp_path.iterdir())) > len(kept):
        sweep(out)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_a_place_that_cannot_be_replaced_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.is_mount", lambda self: self.name == "out")
    with pytest.raises(OutputExistsError, match="is a mount point"):
        check_output(tmp_path / "out", overwrite=False)
    check_output(tmp_path / "out", overwrite=False, names=["results.json"])  # written into, not replaced
    monkeypatch.undo()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OutputExistsError, match="cannot be written to"):
        check_output(tmp_path / "out", overwrite=False)
