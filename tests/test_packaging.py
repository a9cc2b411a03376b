"""The built wheel, in a clean environment outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_ships_types_data_and_hparams(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {f"easyedit_unlearn/_shipped/{p.relative_to(ROOT)}" for p in (ROOT / "hparams").glob("*/*.yaml")}
    assert shipped
    code = {f"{p.relative_to(ROOT)}" for p in (ROOT / "easyedit_unlearn").rglob("*.py")}
    data = "py.typed config/examples.yaml model/plain_text.txt report/templates/report.html.j2 targets/idk.txt"
    tasks = {f"easyedit_unlearn/tasks/{path.name}" for path in (ROOT / "easyedit_unlearn" / "tasks").glob("*.jsonl")}
    assert tasks
    assert shipped | code | tasks | {f"easyedit_unlearn/{name}" for name in data.split()} <= names


def test_a_shipped_name_is_found_by_an_installed_wheel(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # the dependencies of this environment, after the wheel on the path
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    code = (
        "import easyedit_unlearn as e; from easyedit_unlearn.config.shipped import resolve_path;"
        "print(e.__file__, resolve_path('ROME/smollm2-135m'));"
        "from easyedit_unlearn.plugins.load import default_plugins;"
        "facts = default_plugins().tasks.get('facts'); print(len(facts.samples(facts.Options())))"
    )
    python = tmp_path / "env" / "bin" / "python"
    done = subprocess.run([python, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert all(path.startswith(str(site)) for path in first.split())
    assert second == "126"
