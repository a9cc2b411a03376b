"""Seeded chaos: failures, interrupts and kills at random lines and moments. Nothing is lost, nothing is half.

A short form runs with the other tests; ``tox run -e chaos`` runs the long one (``CHAOS`` sequences, ``KILLS`` kills).
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.host

from conftest import FACTS, copied_weights, same_weights, tiny_llama, tiny_tokenizer, write_hparams
from lines import KINDS, failing

from easyedit_unlearn import unlearn
from easyedit_unlearn.artefacts.export import export, put_on
from easyedit_unlearn.experiment.record import differences, read_record
from easyedit_unlearn.model.checkpoint import save_checkpoint
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.storage import strangers

SEQUENCES, KILLS = (int(os.environ.get(name, short)) for name, short in (("CHAOS", "12"), ("KILLS", "2")))
PAIRS = [(question, answer) for question, answer, _ in FACTS]
KEEP: dict[str, Any] = {"progress": False, "retain": PAIRS[2:4], "holdout": PAIRS[4:]}
PROMPT = "prompt: chat, max_new_tokens: 4"
GRACE = {"n_iter": 4, "edit_lr": 1.0, "eps": 1.0, "inner_params": ["model.layers[1].mlp.down_proj.weight"]}


@pytest.fixture
def methods(tmp_path) -> list[str]:
    """One that trains, one that writes, one that stands beside."""
    native = f"{{engine: native, {PROMPT}, native: {{fact_token: last}}}}"
    return [
        str(write_hparams(tmp_path / "g.yaml", "GradDiff", f"{{{PROMPT}}}", learning_rate=5e-4, num_train_epochs=2)),
        str(write_hparams(tmp_path / "grace.yaml", "GRACE", native, **GRACE)),
        str(write_hparams(tmp_path / "icr.yaml", "ICR", f"{{{PROMPT}}}")),
    ]


def surroundings() -> tuple[Any, ...]:
    """What is the user's and not ours."""
    logger = logging.getLogger()
    return (
        random.getstate(), torch.get_rng_state().tolist(), sys.stdout, sys.stderr, Path.cwd(), list(logger.handlers),
        logger.level, list(warnings.filters), signal.getsignal(signal.SIGINT), torch.is_grad_enabled(),
    )  # fmt: skip


class World:
    """A model and a folder, and what may be done with them; each returns what shows that it was done whole."""

    def __init__(self, folder: Path, taught: Any, methods: list[str], draw: random.Random) -> None:
        self.folder, self.pair, self.methods, self.draw = folder, taught, methods, draw
        self.result: Any = None
        save_checkpoint(*self.pair, folder / "base")

    def steps(self) -> list[Callable[[], None]]:
        if self.result is None:
            return [self.unlearn]
        found: list[Callable[[], None]] = [self.undo, self.save]
        if (self.folder / "saved").is_dir():
            found += [self.export, self.put_on_and_off] if (self.folder / "delta").is_dir() else [self.export]
        return found

    def unlearn(self) -> None:
        method = self.method = self.draw.choice(self.methods) if self.result is None else self.method
        self.result = unlearn(self.pair, forget=PAIRS[:2], method=method, **KEEP)

    def undo(self) -> None:
        self.result.undo()
        self.result = None

    def save(self) -> None:
        self.result.save(self.folder / "saved", overwrite=True)

    def export(self) -> None:
        export(self.folder / "saved", "full", self.folder / "copy", overwrite=True)
        if "g.yaml" in self.method:
            export(
                self.folder / "saved", "delta", self.folder / "delta", base=str(self.folder / "base"), overwrite=True
            )

    def put_on_and_off(self) -> None:
        put_on(self.folder / "delta", self.folder / "base", self.folder / "put", overwrite=True)
        put_on(self.folder / "delta", self.folder / "put", None, undo=True)

    def check(self) -> None:
        """Every output is whole or absent, and of this project."""
        for name in ("saved", "copy", "put", "delta"):
            if (self.folder / name).is_dir():
                assert strangers(self.folder / name) == [], name
        for name in ("saved", "copy"):
            if (self.folder / name).is_dir():
                load_model(str(self.folder / name))
        for name in ("saved", "copy", "put"):
            if (self.folder / name / "unlearning.json").is_file():
                assert differences(read_record(self.folder / name), self.folder / name) == [], name

    def leftovers(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_a_failure_at_any_line_leaves_all_as_it_was(seed, taught, methods, tmp_path):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    draw = random.Random(seed)
    world = World(tmp_path, taught, methods, draw)
    model = taught[0]
    for _ in range(3):
        step = draw.choice(world.steps())
        before, result, around = copied_weights(model), world.result, surroundings()
        what, at = draw.choice(KINDS), int(10 ** draw.uniform(0, 4.5))
        try:
            with failing(at, what) as place:
                step()
        except BaseException as error:
            why = f"{step.__name__}, {what.__name__} at {place}: {type(error).__name__}"
            if step != world.undo:  # which may be done when the interrupt comes
                assert same_weights(model, before), why
            world.result = result
            assert surroundings() == around, why
            world.check()
            if step != world.undo or not same_weights(model, before):
                step()  # and the next time it works
            else:
                world.undo()
        world.check()
        assert world.leftovers() == [], step.__name__


def killed_after(seconds: float, command: list[str]) -> bool:
    """True if SIGKILL came before the command's end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(seconds)
    alive = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL) if alive else None
    process.wait()
    return alive


@pytest.mark.timeout(1200)
def test_a_killed_command_does_its_work_the_next_time(tmp_path, facts_file, methods):
    """The same command afterwards ends well, with the same weights, and nothing is left beside them."""
    save_checkpoint(tiny_llama(hidden=64), tiny_tokenizer(), tmp_path / "base")
    start = [sys.executable, "-m", "easyedit_unlearn"]
    teach = [*start, "finetune", "--model", str(tmp_path / "base"), "--data", f"{facts_file}:first4", "--out"]
    teach_more = ["--learning-rate", "1e-2", "--epochs", "20", "--rounds", "4"]
    began = time.monotonic()
    subprocess.run([*teach, str(tmp_path / "whole"), *teach_more], check=True, capture_output=True, timeout=280)
    lasts, draw = time.monotonic() - began, random.Random(0)
    wanted = (tmp_path / "whole" / "model.safetensors").read_bytes()
    killed = 0
    for number in range(KILLS):
        out = tmp_path / f"out{number % 2}"  # the second time over what was there before
        command = [*teach, str(out), *teach_more, "--overwrite", "--until", str(0.8 + number / 2000)]
        killed += killed_after(lasts * (0.4 + 0.5 * draw.random()), command)
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert (out / "model.safetensors").read_bytes() == wanted
        assert json.loads((out / "finetuned.json").read_text())["answered"] == 4
        assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert killed, "every command had ended before it was to be killed"
