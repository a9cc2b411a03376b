"""Caches end: the longest unused goes first, nobody else's files are touched, no fault of a disk is one of ours."""

from __future__ import annotations

import os
import threading
import time

import pytest

from easyedit_unlearn import caches
from easyedit_unlearn.storage import MANIFEST

KEY = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path))
    return tmp_path


def key(number):
    return f"{number:032x}"


def test_what_was_not_used_for_longest_goes_first(cache, monkeypatch):
    monkeypatch.setenv(caches.VARIABLE, "2.5e-6")  # 2,500 bytes
    for number in range(2):
        caches.keep(caches.entry("targets", key(number), ".json"), bytes(1000))
        os.utime(caches.entry("targets", key(number), ".json"), (number, number))
    assert caches.read(caches.entry("targets", key(0), ".json")) == bytes(1000)  # used now
    caches.keep(caches.entry("statistics", key(2)), bytes(1000))
    assert [one.path.stem for one in caches.entries()] == [key(0), key(2)]
    caches.keep(caches.entry("statistics", key(3)), bytes(9000))  # alone larger than all: stays until the next
    assert [one.path.stem for one in caches.entries()] == [key(3)]
    for said, most in (("much", 4e9), ("-1", 4e9), ("inf", 1e18), ("nan", 4e9)):
        monkeypatch.setenv(caches.VARIABLE, said)
        assert caches.limit_bytes() == most


def test_nothing_of_anybody_else_is_deleted(cache, monkeypatch):
    monkeypatch.setenv(caches.VARIABLE, "0")
    mine, link = cache / "statistics" / "notes.txt", cache / "statistics" / key(9)
    mine.parent.mkdir()
    mine.write_text("mine")
    (cache / "elsewhere").mkdir()
    link.symlink_to(cache / "elsewhere")
    (cache / "hparams").mkdir()
    (cache / "hparams" / f"{KEY}.json").write_text("tuned")
    old, young = cache / "statistics" / f".{KEY}.a1", cache / "statistics" / f".{KEY}.b2"
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (1, 1))
    folder = cache / "projections" / KEY  # of an earlier version
    folder.mkdir(parents=True)
    (folder / "projection.safetensors").write_bytes(bytes(10))
    (folder / MANIFEST).write_text('{"files": ["projection.safetensors"]}')
    theirs = cache / "projections" / key(8)
    theirs.mkdir()
    (theirs / "notes.txt").write_text("mine")
    caches.make_room()
    assert (theirs / "notes.txt").exists()
    assert not folder.exists() and not old.exists()
    assert all(path.exists() for path in (mine, link, cache / "elsewhere", cache / "hparams" / f"{KEY}.json", young))
    caches.clear()
    assert (theirs / "notes.txt").exists() and mine.exists()


def test_clearing_is_by_kind(cache):
    caches.keep(caches.entry("targets", KEY, ".json"), b"12")
    caches.keep(caches.entry("statistics", KEY), b"123")
    assert caches.clear(["statistics"]) == 3
    assert [one.kind for one in caches.entries()] == ["targets"]


def test_a_disk_that_is_full_is_no_error(cache, monkeypatch):
    def full(**_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    caches.keep(caches.entry("targets", KEY), b"1")
    assert caches.read(caches.entry("targets", KEY)) is None
    (cache / "targets").rmdir()
    (cache / "targets").write_text("a file where a folder should be")
    caches.keep(caches.entry("targets", KEY), b"1")
    assert caches.entries() == []


def test_many_at_once_keep_one(cache):
    path, faults = caches.entry("statistics", KEY), []

    def work():
        try:
            for _ in range(20):
                caches.keep(path, b"the same")
                assert caches.read(path) in (b"the same", None)
                caches.clear()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    caches.keep(path, b"the same")
    assert caches.read(path) == b"the same"
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_use_is_noted(cache):
    path = caches.entry("statistics", KEY)
    caches.keep(path, b"1")
    os.utime(path, (5, 5))
    caches.read(path)
    assert time.time() - caches.entries()[0].used < 60
