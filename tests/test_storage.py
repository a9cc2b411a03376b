"""Outputs are complete or absent, and nothing that is not ours is ever replaced or deleted."""

from __future__ import annotations

import pytest

from easyedit_unlearn.errors import OutputExistsError
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
