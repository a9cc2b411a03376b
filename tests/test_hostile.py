"""Files, plugins and endpoints that mean harm, or are only broken: one line, soon, and nothing of theirs in it."""

from __future__ import annotations

import http.server
import json
import threading
import time
from contextlib import suppress

import pytest
import yaml
from typer.testing import CliRunner

from easyedit_unlearn import UnlearnHyperParams, hookimpl
from easyedit_unlearn.cli.app import app
from easyedit_unlearn.errors import ConfigError, PluginError, UnlearnError, brief
from easyedit_unlearn.evaluation import judge
from easyedit_unlearn.evaluation.judge import ChatJudge
from easyedit_unlearn.plugins.load import default_plugins, load_plugins
from easyedit_unlearn.report.markdown import escaped
from easyedit_unlearn.report.spreadsheet import _text
from easyedit_unlearn.yamls import load_yaml


def bomb(first, again):
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} {again.format(', '.join([f'*a{n - 1}'] * 9))}" for n in range(1, 10)]
    return "\n".join(lines)


BOMBS = {
    "list": bomb("[x, x, x, x, x]", "[{}]"), "merge": bomb("{k: v}", "{{<<: [{}]}}"), "list in itself": "a: &a [*a]",
    "map in itself": "&a {b: *a}",
}  # fmt: skip


def refused_soon(path, text, read):
    path.write_text(text)
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert len(str(caught.value)) < 400
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("bomb", BOMBS)
def test_aliases_that_blow_up_are_refused_at_once(tmp_path, bomb):
    refused_soon(tmp_path / "x.yaml", BOMBS[bomb], UnlearnHyperParams.from_hparams)


@pytest.mark.model
@pytest.mark.parametrize("bomb", BOMBS)
def test_and_so_in_a_bench(tmp_path, bomb):
    from easyedit_unlearn.bench.grid import read_bench

    refused_soon(tmp_path / "x.yaml", BOMBS[bomb], lambda path: read_bench(path, default_plugins()))


def test_aliases_that_mean_what_they_say_are_read():
    text = "a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 3}\n"
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml("") is None


def test_errors_show_a_line_of_what_stands_there():
    assert len(brief([[[[[[["x" * 1000]]]]]]] * 1000)) < 400
    assert len(brief("y" * 10**6)) <= 200
    assert len(brief(10**3000)) <= 200
    assert brief({"builder": "idk", "list": [1, 2, 3]}) == "{'builder': 'idk', 'list': [1, 2, 3]}"


def plugin(act):
    class Plugin:
        @hookimpl
        def easyedit_unlearn_tasks(self):
            return act()

    return Plugin()


def test_a_plugin_may_not_end_the_command_nor_print_into_its_answer(capsys):
    def ends():
        raise SystemExit(0)

    def prints():
        print("hello")  # noqa: T201
        return []

    found = load_plugins([("ending", plugin(ends)), ("loud", plugin(prints))], use_entry_points=False)
    assert {info.name: info.status for info in found.infos} == {
        "builtin": "active", "ending": "broken", "loud": "active",
    }  # fmt: skip
    assert capsys.readouterr().out == ""
    with pytest.raises(PluginError, match="'ending' is broken"):
        load_plugins([("ending", plugin(ends))], strict=True, use_entry_points=False)


@pytest.fixture
def endpoint():
    """An address, and what it answers: a function that writes to the stream."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # nobody reads to the end
                answers["write"](self.wfile)

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    server.server_close()


def dripping(stream):
    for _ in range(100):
        stream.write(b" ")
        stream.flush()
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda stream: stream.write(b" " * 3_000_000), "more than 1 MB"),
        (lambda stream: stream.write(b"[" * 100_000), "recursion"),
        (dripping, "did not end its answer within"),
    ],
    ids=["large", "deep", "slow"],
)
def test_a_judge_that_does_not_end_is_left(endpoint, write, said):
    url, answers = endpoint
    answers["write"] = write
    began = time.monotonic()
    with pytest.raises(UnlearnError, match=f"(?i){said}"):
        ChatJudge(url, "m", timeout=0.5, key=None).score("Who?", "No.")
    assert time.monotonic() - began < 4


def test_the_judges_key_is_in_no_error(endpoint, monkeypatch):
    url, answers = endpoint
    reply = json.dumps({"choices": [{"message": {"content": "5"}}]}).encode()
    answers["write"] = lambda stream: stream.write(reply)
    monkeypatch.setenv(judge.JUDGE_KEY, "swordfish\n")  # as a file's last line is read
    assert ChatJudge(url, "m").score("Who?", "No.") == 1.0
    monkeypatch.setenv(judge.JUDGE_KEY, "sword\nfish")
    with pytest.raises(UnlearnError, match="characters that no header may have") as caught:
        ChatJudge(url, "m")
    assert "fish" not in str(caught.value)


@pytest.mark.model
def test_a_path_that_looks_like_markup_is_a_path(tmp_path):
    result = CliRunner().invoke(app, ["export", str(tmp_path / "llama[/x]"), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, UnlearnError), result.exception  # not rich's MarkupError


def test_escapes_and_formulas_are_text():
    assert escaped("a\x1b[31mb\u202ec\u2066d") == r"a\[31mbcd"
    for cell in ("\t=1+1", "\r=1+1", "\n=1", "=1+1", "@x"):
        assert _text(cell) == f"'{cell}"
    assert _text("-") == "-"
