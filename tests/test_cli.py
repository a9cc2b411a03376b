"""The command line where no model is needed. No torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def cli(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "easyedit_unlearn", *arguments], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize("kind", ["tasks", "targets", "mergers", "methods", "metrics"])
def test_list_json_is_a_list_of_objects(kind):
    rows = json.loads(cli("list", kind, "--json").stdout)
    assert rows
    assert all(set(row) == {"name", "owner", "summary"} for row in rows)


def test_plugins_json():
    (info,) = [i for i in json.loads(cli("plugins", "--json").stdout) if i["name"] == "builtin"]
    assert info["status"] == "active"


NEED_TORCH = (
    (["run", "none.yaml", "--forget", "facts", "--out", "x"], "no such hparams file"),
    (["evaluate", "--model", "embedded", "--forget", "nothing:all"], "unknown task 'nothing'"),
    (["evaluate", "--model", "embedded", "--forget", "facts", "--also", "facts"], "NAME=TASK"),
    (["targets", "PO/smollm2-135m", "--forget", "facts", "--set", "seed"], "--set seed: write KEY=VALUE"),
    (["targets", "PO/smollm2-135m", "--forget", "facts", "--set", "unlearn.merge={"], "write KEY=VALUE"),
    (
        ["targets", "PO/smollm2-135m", "--forget", "facts", "--set", "unlearn.merge={merger: concat, size: 0}"],
        "unlearn.merge.size: 0: Input should be greater than or equal to 1",
    ),
    (["targets", "PO/smollm2-135m", "--forget", "facts", "--judge-url", "ftp://x"], "must be an http"),
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "taks"], "Did you mean 'tasks'"),
        *(pytest.param(*case, marks=pytest.mark.model) for case in NEED_TORCH),
    ],
)
def test_errors_are_one_line_and_status_2(arguments, said, tmp_path):
    done = cli(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["list", "taks"], ["bench", "none.yaml", "--out", "x"]])
def test_debug_shows_where(arguments, tmp_path):
    assert "Traceback" in cli("--debug", *arguments, cwd=tmp_path).stderr


@pytest.mark.model
def test_an_existing_output_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    arguments = ["evaluate", "--model", "embedded", "--forget", "facts:all", "--out", str(tmp_path)]
    done = cli(*arguments)
    assert (done.returncode, "--overwrite" in done.stderr) == (2, True)


def test_importing_the_package_is_cheap():
    code = (
        "import sys, time; start = time.perf_counter(); import easyedit_unlearn; seconds = time.perf_counter() - start;"
        "heavy = {'torch', 'easyeditor', 'transformers', 'pydantic'} & set(sys.modules); print(seconds, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.split(maxsplit=1)
    assert heavy.strip() == "set()"
    assert float(seconds) < 0.3  # the package's promise to everyone who imports it; 0.05 s when measured
