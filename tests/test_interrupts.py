"""Ctrl-C, once and twice, at the guards' own lines: the weights are put back bitwise all the same."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from easyedit_unlearn.environment import uninterrupted

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def default_handler():
    """A shell starts what runs in its background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_what_may_not_be_interrupted_is_finished_first():
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        interrupt()
        interrupt()
        done.append(1)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with uninterrupted():
        done.append(2)
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert done == [1, 2]


def test_an_ignored_interrupt_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted():
        interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.model
@pytest.mark.parametrize("first", [KeyboardInterrupt, RuntimeError])
def test_a_second_interrupt_while_weights_are_put_back_leaves_none_changed(first, llama, monkeypatch):
    from conftest import copied_weights, same_weights

    from easyedit_unlearn.model.weights import WeightGuard, guarded

    model, _ = llama
    weights, names = copied_weights(model), [name for name, _ in model.named_parameters()]
    hooks = WeightGuard.restore_hooks

    def again(self):
        interrupt()
        hooks(self)

    monkeypatch.setattr(WeightGuard, "restore_hooks", again)
    with pytest.raises(KeyboardInterrupt), guarded(model, names):
        spoil(model)
        raise first
    assert same_weights(model, weights)


@pytest.mark.model
def test_an_interrupt_at_any_line_of_the_guard_leaves_the_weights_as_they_were_or_as_they_were_made(llama):
    """One SIGINT at each line that the guard's module runs while an error takes the edit back."""
    from conftest import copied_weights, same_weights

    from easyedit_unlearn.model import weights as module

    model, _ = llama
    before, names = copied_weights(model), [name for name, _ in model.named_parameters()]
    lines = traced(model, names, module.__file__, at=None)
    assert len(lines) > 20
    for number in range(len(lines)):
        traced(model, names, module.__file__, at=number)
        assert same_weights(model, before), f"line {lines[number]}"


def traced(model, names, file, at):
    """The lines of ``file`` that run once an error was raised in the guard; at the ``at``-th of them an interrupt."""
    from easyedit_unlearn.model.weights import guarded

    seen, raised = [], []

    def trace(frame, event, _argument):
        if frame.f_code.co_filename != file:
            return None
        if event == "line" and raised:
            seen.append(frame.f_lineno)
            if at is not None and len(seen) == at + 1:
                interrupt()
        return trace

    sys.settrace(trace)
    try:
        with guarded(model, names):
            spoil(model)
            raised.append(True)
            raise RuntimeError
    except (RuntimeError, KeyboardInterrupt):
        pass
    finally:
        sys.settrace(None)
    return seen


def spoil(model):
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
