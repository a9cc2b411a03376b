"""The README's Python runs, and its commands name what exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_plugin_example_is_a_plugin(tmp_path):
    (tmp_path / "my_module.py").write_text(next(block for block in BLOCKS if "hookimpl" in block))
    code = (
        "import my_module; from easyedit_unlearn.plugins.load import load_plugins;"
        "p = load_plugins([('rivers', my_module)], use_entry_points=False);"
        "assert not p.broken and 'rivers' in p.tasks"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("command", re.findall(r"^easyedit-unlearn (\w+)", README, re.MULTILINE))
def test_every_command_exists(command):
    subprocess.run([sys.executable, "-m", "easyedit_unlearn", command, "--help"], check=True, capture_output=True)


@pytest.mark.integration
@pytest.mark.host
@pytest.mark.timeout(900)
def test_the_base_editor_example_forgets(tmp_path):
    code = next(block for block in BLOCKS if "BaseEditor.from_hparams" in block) + (
        "\nfrom easyedit_unlearn.evaluation.scoring import ask_all\n"
        "from easyedit_unlearn.text import is_refusal\n"
        "reply = ask_all(edited_model, editor.tok, samples)[0]\n"
        "assert 'Tokyo' not in reply and is_refusal(reply), reply\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
@pytest.mark.host
@pytest.mark.timeout(900)
@pytest.mark.parametrize("code", [block for block in BLOCKS if "import unlearn\n" in block])
def test_the_three_lines_forget(code, tmp_path, monkeypatch):
    monkeypatch.delenv("EASYEDIT_UNLEARN_DATA", raising=False)  # nobody needs data for them
    checks = (
        "\nassert result.metrics['forget_answer_rate'] == {'before': 1.0, 'after': 0.0}, result"
        "\nassert result.metrics['holdout_answer_rate']['after'] >= 0.85, result\n"
    )
    undone = "result.undo()\nassert 'Tokyo' in result.ask('What is the capital of Japan?')"
    code = code.replace("result.undo()", "") + checks + undone
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in tmp_path.iterdir()} <= {"forgetful", "report"}
