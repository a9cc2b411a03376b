"""README and docs: their Python runs, their YAML parses, their commands exist, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from easyedit_unlearn.config.settings import parse_settings
from easyedit_unlearn.plugins.load import default_plugins, load_plugins

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
}
SIZE = 150
"""Lines of a README that is still read."""


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, code) of every fenced block."""
    return [
        (page, code) for page, text in PAGES.items() for code in re.findall(rf"```{language}\n(.*?)```", text, re.S)
    ]


PYTHON = blocks("python")
PLUGINS = [code for page, code in PYTHON if "@hookimpl" in code]
THREE_LINES = [code for page, code in PYTHON if "import unlearn\n" in code]
BASE_EDITOR = [code for page, code in PYTHON if "BaseEditor.from_hparams" in code]
ADAPTERS = [code for page, code in PYTHON if "load_adapters(" in code]
EVALUATION = [code for page, code in PYTHON if "evaluate(model" in code]
JUDGING = [code for page, code in PYTHON if "is_babble" in code]
COMMANDS = [line for _, code in blocks("sh") for line in code.splitlines() if line.startswith("easyedit-unlearn ")]


def run_code(code: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_python_block_is_run_by_a_test_here():
    assert len(PYTHON) == sum(map(len, (PLUGINS, THREE_LINES, BASE_EDITOR, ADAPTERS, EVALUATION, JUDGING)))
    assert all((PLUGINS, THREE_LINES, BASE_EDITOR, ADAPTERS, EVALUATION, JUDGING, COMMANDS))


def test_the_readme_is_short_and_no_table_stands_twice():
    assert len(PAGES["README.md"].splitlines()) <= SIZE
    seen: dict[str, str] = {}
    results = {path.name: path.read_text() for path in (ROOT / "benchmarks" / "results").glob("*.md")}
    for page, text in {**PAGES, **results}.items():
        for row in re.findall(r"^\| .*\d+/\d+.*\|$", text, re.M):
            assert row not in seen, f"{page} repeats a row of {seen[row]}: {row}"
            seen[row] = page


@pytest.mark.parametrize(("page", "text"), list(PAGES.items()), ids=list(PAGES))
def test_links_and_includes_lead_somewhere(page, text):
    here = (ROOT / page).parent
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
        picture = ROOT / "benchmarks" / "results" / Path(target).name  # docs/hooks.py puts these beside the results
        assert (here / target).exists() or (page.startswith("docs/") and picture.suffix and picture.exists()), target
    for target in re.findall(r'^--8<-- "([^":]+)', text, re.M):
        assert (ROOT / target).is_file(), target


@pytest.mark.parametrize("code", PLUGINS)
def test_a_plugin_example_is_a_plugin(code, monkeypatch):
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    exec(compile(code, "example", "exec"), vars(module))
    plugins = load_plugins([("example", module)], use_entry_points=False)
    assert not plugins.broken
    kinds = (plugins.tasks, plugins.target_builders, plugins.query_mergers, plugins.methods, plugins.metrics)
    assert sum(kind.owner(name) == "example" for kind in kinds for name in kind.names) == 1


@pytest.mark.parametrize("code", JUDGING)
def test_every_judgement_is_what_its_comment_says(code):
    names: dict[str, object] = {}
    said = [line.split("  # ") for line in code.splitlines() if "  # " in line]
    exec(code, names)
    assert len(said) > 5
    for call, comment in said:
        assert eval(call, names) == eval(comment.partition(":")[0].partition(";")[0]), call


@pytest.mark.parametrize("text", [code for _, code in blocks("yaml")])
def test_a_block_of_settings_parses(text):
    parse_settings(yaml.safe_load(text)["unlearn"], default_plugins(), "docs")


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists_with_all_its_options(line):
    from typer.main import get_command

    from easyedit_unlearn.cli.app import app

    _, name, *words = shlex.split(line, comments=True)
    command = get_command(app).commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.integration
@pytest.mark.host
@pytest.mark.timeout(900)
@pytest.mark.parametrize("code", BASE_EDITOR)
def test_the_base_editor_example_forgets(code, tmp_path):
    check = (
        "\nfrom easyedit_unlearn.model.knowledge import ask_all\n"
        "from easyedit_unlearn.evaluation.judging import is_refusal\n"
        "reply = ask_all(edited_model, editor.tok, samples)[0]\n"
        "assert 'Tokyo' not in reply and is_refusal(reply), reply\n"
    )
    short = "hparams.context_template_length_params = []\n"  # one context in place of eleven, for time
    made = "editor = BaseEditor"
    assert made in code
    run_code(code.replace(made, short + made) + check, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
@pytest.mark.host
@pytest.mark.timeout(900)
@pytest.mark.parametrize("code", THREE_LINES)
def test_the_three_lines_forget(code, tmp_path, monkeypatch):
    monkeypatch.delenv("EASYEDIT_UNLEARN_DATA", raising=False)  # nobody needs data for them
    checks = (
        "\nassert result.metrics['forget_answer_rate'] == {'before': 1.0, 'after': 0.0}, result"
        "\nassert result.metrics['holdout_answer_rate']['after'] >= 0.85, result\n"
    )
    undone = "result.undo()\nassert 'Tokyo' in result.ask('What is the capital of Japan?')"
    run_code(code.replace("result.undo()", "") + checks + undone, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"forgetful", "report"}


@pytest.mark.integration
@pytest.mark.timeout(900)
@pytest.mark.parametrize("code", EVALUATION)
def test_the_evaluation_example_runs(code, tmp_path):
    run_code(code + "\nassert results.rows[0]['means']['answer_prob']['forget']['n'] == 5\n", tmp_path)


@pytest.mark.model
@pytest.mark.parametrize("code", ADAPTERS)
def test_the_adapters_of_a_checkpoint_are_loaded(code, llama, tmp_path):
    import torch

    from easyedit_unlearn.model.checkpoint import save_checkpoint
    from easyedit_unlearn.model.memories import Codebook, attach

    book = Codebook(keys=torch.ones(1, 96), values=torch.ones(1, 48), radii=torch.ones(1))
    attach(llama[0], "model.layers.0.mlp.down_proj", book)
    save_checkpoint(*llama, tmp_path / "out" / "model")
    run_code(code + "\nassert easyedit_unlearn.save_adapters(model, '.'), 'none attached'\n", tmp_path)
