"""Grids of cells: read strictly, run each in a process of its own, never twice, killed and resumed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from rich.console import Console

torch = pytest.importorskip("torch")

from conftest import write_hparams

from easyedit_unlearn.bench import bench as benches
from easyedit_unlearn.bench import cells, digest
from easyedit_unlearn.bench.board import over_seeds, results_of
from easyedit_unlearn.bench.claims import Claims
from easyedit_unlearn.bench.executors import in_processes
from easyedit_unlearn.bench.grid import read_bench
from easyedit_unlearn.bench.live import Live
from easyedit_unlearn.builtins import host_editors
from easyedit_unlearn.errors import ConfigError, HostError, OutputExistsError
from easyedit_unlearn.plugins.load import default_plugins

pytestmark = pytest.mark.host
SHIPPED = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def grid(tmp_path, facts_file, taught_path):
    """Two cheap methods on the tiny taught model; one of them reads refusals."""
    write_hparams(tmp_path / "graddiff.yaml", "GradDiff", "{prompt: chat}", learning_rate=5e-4, num_train_epochs=2)
    write_hparams(tmp_path / "icr.yaml", "ICR", "{prompt: chat}")
    sets = {name: f"{facts_file}:{split}" for name, split in
            (("forget", "forget{size}"), ("retain", "retain"), ("holdout", "holdout"))}  # fmt: skip
    content = {
        "title": "tiny",
        "defaults": {"models": [{"model": str(taught_path), "label": "tiny"}], "sets": sets, "sizes": [2],
                     "max_new_tokens": 8},
        "blocks": [
            {"methods": [str(tmp_path / "graddiff.yaml")], "seeds": [0, 1], "targets": ["fixed", "idk"]},
            {"methods": [str(tmp_path / "icr.yaml")], "targets": ["fixed", "template"]},
        ],
    }  # fmt: skip
    path = tmp_path / "bench.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def bench(grid, out, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "easyedit_unlearn", "bench", str(grid), "--out", str(out), *more], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "COLUMNS": "120"}, start_new_session=True,
    )  # fmt: skip


def changed(grid, **changes):
    content = yaml.safe_load(grid.read_text()) | changes
    grid.write_text(yaml.safe_dump(content), encoding="utf-8")
    return grid


def test_a_file_stands_for_each_cell_once(grid):
    title, found = read_bench(grid, default_plugins())
    assert title == "tiny"
    # GradDiff reads no refusals: two targets are one cell, two seeds are two
    assert [(Path(c.hparams).stem, c.seed) for c in found] == [("graddiff", 0), ("graddiff", 1), ("icr", 0), ("icr", 0)]
    assert [c.overrides.get("unlearn.target") for c in found[2:]] == [{"builder": "fixed"}, {"builder": "template"}]
    assert found[0].sets.forget.endswith(":forget2")
    keys = {digest.cell_key(cell, default_plugins()) for cell in found}
    assert len(keys) == 4


def test_a_method_alone_takes_its_settings_from_each_model(grid, tmp_path):
    """Its key follows every file that they may come from; the cell itself runs."""
    (cell,) = read_bench(changed(grid, blocks=[{"methods": ["ICR"]}]), default_plugins())[1]
    assert cell.hparams == "ICR"
    assert digest.cell_key(cell, default_plugins()) == digest.cell_key(cell, default_plugins())
    running = bench(grid, tmp_path / "out")
    said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    (row,) = (
        one for one in json.loads((tmp_path / "out" / "results.json").read_text())["rows"] if one["method"] == "ICR"
    )
    assert row["hparams"] == "ICR" and row["n_forget"] == 2


def test_a_key_follows_everything_that_decides(grid, facts_file, tmp_path):
    plugins = default_plugins()
    cell = read_bench(grid, plugins)[1][0]
    first = digest.cell_key(cell, plugins)
    assert digest.cell_key(cell, plugins) == first
    facts_file.write_text(facts_file.read_text().replace("Minas", "Minos"))
    second = digest.cell_key(cell, plugins)
    hparams = tmp_path / "graddiff.yaml"
    hparams.write_text(hparams.read_text().replace("num_train_epochs: 2", "num_train_epochs: 3"))
    third = digest.cell_key(cell, plugins)
    weights = Path(cell.model) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    digest._model.cache_clear()
    fourth = digest.cell_key(cell, plugins)
    listed = cell.model_copy(
        update={"overrides": cell.overrides | {"unlearn.native": {"corpus": str(tmp_path / "a.txt")}}}
    )
    (tmp_path / "a.txt").write_text("one")
    fifth = digest.cell_key(listed, plugins)
    (tmp_path / "a.txt").write_text("two")  # a file that a setting names
    assert len({first, second, third, fourth, fifth, digest.cell_key(listed, plugins)}) == 6


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"blocks": []}, "needs 'blocks:'"),
        ({"block": []}, "unknown key"),
        ({"blocks": [{"methods": ["GradDiff/smollm2-135m"], "size": [2]}]}, r"blocks\[0\].size.*sizes"),
        ({"blocks": [{"methods": []}]}, r"blocks\[0\].methods"),
        ({"blocks": [{"methods": ["ICR/smollm2-135m"], "set": {"unlearn.seed": 3}}]}, "'seeds:'"),
        (
            {"blocks": [{"methods": ["ICR/smollm2-135m"], "sets": {"forget": "facts", "also": {"forget": "facts"}}}]},
            "also",
        ),
        ({"blocks": [{"methods": ["Nothing/here"]}]}, "no such hparams file"),
        ({"blocks": [{"methods": ["PO/smollm2-135m"], "targets": ["none_such"]}]}, "unlearn.target.builder"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(grid, changes, complaint):
    with pytest.raises(ConfigError, match=complaint):
        read_bench(changed(grid, **changes), default_plugins())


CELLS = {
    "smoke": 9, "paper": 142, "methods": 38, "taught": 43, "refusals": 7, "merging": 29, "editors": 30, "larger": 13,
    "pistol": 24,
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_grids_read(path):
    if path.stem == "editors" and not host_editors().has("AlphaEdit"):
        with pytest.raises(HostError, match="has no AlphaEdit.*The main branch has all editors"):
            read_bench(path, default_plugins())
        return
    title, found = read_bench(path, default_plugins())
    assert title
    assert len(found) == CELLS[path.stem]
    growing = {cell.sizes for cell in found}
    assert growing == ({(5, 10, 20, 40)} if path.stem == "merging" else {()})


def test_cells_run_are_reported_and_are_not_run_again(grid, tmp_path):
    out = tmp_path / "out"
    process = bench(grid, out, "--jobs", "2")
    stdout, stderr = process.communicate(timeout=280)
    assert process.returncode == 0, stderr
    assert "[4/4]" in stderr and "balance" in stdout
    assert {p.name for p in out.iterdir()} >= {"cells", "results.json", "results.csv", "report.html", "report.md"}
    results = json.loads((out / "results.json").read_text())
    assert results["status"] == "complete"
    labels = [row["label"] for row in results["rows"]]
    assert labels[0] == "before" and sorted(labels[1:]) == ["GradDiff", "ICR", "ICR (template)"]
    graddiff = next(row for row in results["rows"] if row["label"] == "GradDiff")
    assert graddiff["seeds"] == [0, 1] and graddiff["spread"]["ppl_after"] >= 0
    times = {p.name: p.stat().st_mtime_ns for p in (out / "cells").iterdir()}
    again = bench(grid, out)
    _, stderr = again.communicate(timeout=100)
    assert again.returncode == 0 and "4 of 4 cells are there already" in stderr
    assert {p.name: p.stat().st_mtime_ns for p in (out / "cells").iterdir()} == times
    (out / "cells" / next(iter(times))).write_text("{")  # half a file is no cell
    missing = benches.Bench(grid, out, default_plugins()).missing
    assert [f"{key}.json" for key in missing] == [next(iter(times))]


def test_what_is_killed_goes_on_where_it_was(grid, tmp_path):
    """SIGKILL: nobody can clean up. What was finished stays; its worker does not outlive it."""
    out = tmp_path / "out"
    process = bench(grid, out)
    done = out / "cells"
    deadline = time.monotonic() + 200
    while not (done.is_dir() and list(done.glob("*.json"))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    there = {p: p.read_bytes() for p in done.glob("*.json")}
    assert 1 <= len(there) < 4
    again = bench(grid, out)
    _, stderr = again.communicate(timeout=280)
    assert again.returncode == 0, stderr
    assert f"{len(there)} of 4 cells are there already" in stderr
    assert all(path.read_bytes() == content for path, content in there.items())
    assert len(list(done.glob("*.json"))) == 4


@pytest.fixture
def counted(monkeypatch):
    """An executor without a model, which says what it ran: two at once, each for a moment."""
    ran = []

    def execute(jobs, count, _logs, _said, claim):
        for key in jobs:
            if claim(key):
                ran.append(key)
                time.sleep(0.05)
                yield key, {"status": "done", "rows": [], "samples": [], "before": {}}

    monkeypatch.setitem(benches.EXECUTORS, "counted", execute)
    return ran


def run_here(grid, out, count=1):
    one = benches.Bench(grid, out, default_plugins())
    with Live(Console(file=io.StringIO()), dict.fromkeys(one.cells, "cell"), 0, count) as live:
        one.run("counted", count, live)
    return one


def test_two_benches_on_one_folder_run_each_cell_once(grid, tmp_path, counted):
    out = tmp_path / "out"
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: run_here(grid, out), range(3)))
    assert sorted(counted) == sorted(found[0].cells)
    assert all(not one.missing for one in found)
    assert not list((out / "cells").glob(".*"))


def test_two_benches_that_teach_in_other_orders_do_not_wait_for_each_other(grid, tmp_path, monkeypatch):
    """Each has claimed what the other comes to next: neither may keep it while it waits."""
    taught, forwards = [], {}

    def execute(jobs, count, _logs, _said, claim):
        mine = forwards.setdefault(threading.get_ident(), len(forwards) == 0)
        keys = list(jobs) if mine else list(jobs)[::-1]
        for key in [key for key in keys if claim(key)]:
            time.sleep(0.2)
            taught.append(key)
            yield key, {"status": "done", "rows": [], "samples": [], "before": {}}

    monkeypatch.setitem(benches.EXECUTORS, "counted", execute)
    facts = yaml.safe_load(grid.read_text())["defaults"]["sets"]["forget"].rpartition(":")[0]
    tiny = str(tmp_path / "tiny-llama")
    models = [{"model": tiny, "label": str(n), "finetune": [f"{facts}:first{n}"]} for n in (2, 3)]
    changed(grid, blocks=[{"methods": [str(tmp_path / "icr.yaml")], "models": models}])
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(run_here, grid, tmp_path / "out") for _ in range(2)]
        found = [one.result(timeout=60) for one in waiting]
    assert all(not one.missing for one in found)
    assert sorted(key for key in taught if not key.startswith("teach")) == sorted(found[0].cells)
    assert not list((tmp_path / "out" / "cells").glob(".*"))


def test_a_cell_that_another_bench_left_undone_is_run(grid, tmp_path, counted):
    """It failed there, was interrupted or killed: its claim is gone, and so is what it would have written."""
    out = tmp_path / "out"
    first = benches.Bench(grid, out, default_plugins())
    held = next(iter(first.cells))
    taken, other = threading.Event(), Claims(out / "cells")

    def elsewhere():
        assert other.take(held)
        taken.set()
        time.sleep(0.5)
        other.leave_all()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    taken.wait(10)
    assert not run_here(grid, out).missing
    thread.join()
    assert counted[-1] == held and len(counted) == len(first.cells)


def test_without_resume_all_run_again(grid, tmp_path, counted):
    out = tmp_path / "out"
    run_here(grid, out)
    assert len(benches.Bench(grid, out, default_plugins(), resume=False).missing) == len(counted)


def test_a_failure_is_a_row_and_costs_no_other(grid, tmp_path):
    wrong = write_hparams(tmp_path / "wrong.yaml", "GradDiff", "{prompt: chat}", layers=[99])
    icr = str(tmp_path / "icr.yaml")
    out = tmp_path / "out"
    process = bench(changed(grid, blocks=[{"methods": [str(wrong), icr]}]), out)
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 1, stderr  # so that a script sees it
    assert "99" in stderr
    results = json.loads((out / "results.json").read_text())
    stopped = [row for row in results["rows"] if row.get("stopped")]
    assert len(stopped) == 1 and "99" in stopped[0]["stopped"]
    assert any(row["label"] == "ICR" for row in results["rows"])
    assert benches.Bench(grid, out, default_plugins()).missing  # it is tried again


def test_a_worker_that_dies_is_an_outcome(tmp_path):
    found = dict(in_processes({"a": {"cell": "nonsense"}}, 1, tmp_path, lambda _key, _what: None))
    assert found["a"]["status"] == "failed" and "exit status 1" in found["a"]["error"]
    assert (tmp_path / "a.log").read_text()


def test_somebody_elses_folder_is_left_alone(grid, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(OutputExistsError, match="no bench"):
        benches.Bench(grid, tmp_path / "mine", default_plugins())


def test_seeds_become_one_row():
    first = {
        "seed": 0,
        "means": {},
        "overall": {},
        "ppl_after": 10.0,
        "forget_answer_rate": 0.2,
        "n_forget": 5,
        "label": "x",
        "size": 5,
    }
    rows = [first, first | {"seed": 1, "ppl_after": 14.0, "forget_answer_rate": None}]
    row = over_seeds(rows)
    assert row["ppl_after"] == 12.0
    assert row["spread"] == {"ppl_after": pytest.approx(8**0.5)}
    assert row["forget_answer_rate"] == 0.2  # undefined for one seed: no mean
    assert (row["n_forget"], row["seeds"]) == (5, [0, 1])


def test_only_seeds_become_one_row(grid):
    """Cells that differ in more are rows of their own, and no two rows of a setting have one name."""
    block = {"methods": [str(grid.parent / "icr.yaml")], "seeds": [0, 1]}
    other = block | {"set": {"unlearn.mode": "sequential"}, "seeds": [0]}
    _, found = read_bench(changed(grid, blocks=[block, other]), default_plugins())
    row = {"label": "ICR", "engine": "native", "method": "ICR", "seed": 0, "model": "tiny", "means": {}, "overall": {}}
    row |= {"n_forget": 2}
    outcomes = [
        (
            cell,
            {"status": "done", "rows": [row | {"seed": cell.seed, "balance": 0.1 * n}], "before": row, "samples": []},
        )
        for n, cell in enumerate(found)
    ]
    rows = results_of(outcomes).rows
    assert [one.get("seeds") for one in rows] == [None, [0], [0, 1]]
    assert len({one["label"] for one in rows}) == 3
    assert "mode=sequential" in rows[1]["label"] and "mode" not in rows[2]["label"]
    assert {one["family"] for one in rows[1:]} == {f"tiny, {grid.parent / 'invented.jsonl'}:forget{{size}}"}


def test_metrics_are_means_over_seeds_where_all_define_them():
    tables = [{"prob": {"forget": {"mean": mean, "n": 5, "interval": [0, 1]}}} for mean in (0.2, 0.4)]
    rows = [{"seed": n, "means": tables[n], "overall": {"a": 1.0 * n, "b": None}} for n in (0, 1)]
    row = over_seeds(rows)
    assert row["means"]["prob"]["forget"] == {"mean": pytest.approx(0.3), "n": 5, "interval": [0, 1]}
    assert row["overall"] == {"a": 0.5, "b": None}


def test_time_left_is_told_once_there_is_anything_to_go_by(capsys):
    from rich.console import Console

    live = Live(Console(), {"a": "A", "b": "B", "c": "C"}, 1, 1)
    assert live.left() == ""
    live.said("a", "starting")
    live.done("a", cells.failed("it broke"))
    assert live.left() == "0:00:00"
    assert "[2/3] A 0 s: it broke" in capsys.readouterr().out
    assert results_of([]).rows == []


def test_the_same_cells_on_a_local_ray(grid, tmp_path):
    pytest.importorskip("ray")
    out = tmp_path / "out"
    icr = str(tmp_path / "icr.yaml")
    process = bench(
        changed(grid, blocks=[{"methods": [icr], "targets": ["fixed", "template"]}]), out, "--executor", "ray"
    )
    stdout, stderr = process.communicate(timeout=280)
    assert process.returncode == 0, stderr
    rows = json.loads((out / "results.json").read_text())["rows"]
    assert [row["label"] for row in rows] == ["before", "ICR", "ICR (template)"]
    local = bench(grid, tmp_path / "local")
    local.communicate(timeout=280)
    here = json.loads((tmp_path / "local" / "results.json").read_text())["rows"]
    assert [row["forget_answer_prob"] for row in here] == [row["forget_answer_prob"] for row in rows]
