"""Where jobs run: processes of this machine, or a Ray cluster. Either way a job and its outcome are plain data."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from easyedit_unlearn.bench.cells import Outcome, failed
from easyedit_unlearn.bench.worker import run_job
from easyedit_unlearn.components import no_progress
from easyedit_unlearn.errors import UnlearnError

Job = Mapping[str, Any]
"""See ``worker.run_job``."""
Outcomes = Generator[tuple[str, Outcome], None, None]
"""As jobs end; closing it ends those that run."""
Said = Callable[[str, str], None]
"""Told a job's key and what it is doing."""
Claim = Callable[[str], bool]
"""Asked before a job starts; one that is not ours has no outcome here."""
INSTALL_RAY = 'Ray is missing; run: pip install "easyedit-unlearn[ray]"'


def _ours(_key: str) -> bool:
    return True


def in_processes(jobs: Mapping[str, Job], count: int, logs: Path, said: Said, claim: Claim = _ours) -> Outcomes:
    """``count`` at once, each in a process that ends with its job, with its share of the processors' threads unless
    ``OMP_NUM_THREADS`` says otherwise. What a job prints is in ``logs``."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    running: set[subprocess.Popen[str]] = set()
    stopping = threading.Event()
    pool = ThreadPoolExecutor(count)
    try:
        futures = {
            pool.submit(_claimed, claim, key, job, logs, said, (running, stopping), environment): key
            for key, job in jobs.items()
        }
        for future in as_completed(futures):
            outcome = future.result()
            if outcome is not None:
                yield futures[future], outcome
    finally:
        stopping.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.terminate()
        pool.shutdown(wait=True)


def on_ray(jobs: Mapping[str, Job], count: int, logs: Path, said: Said, claim: Claim = _ours) -> Outcomes:
    """On the cluster that ``RAY_ADDRESS`` names, or a local one; a job takes one CPU, and one GPU where there are any.
    The cluster has all of them at once, so all that can be are claimed at once.

    Raises:
        UnlearnError: Ray is missing.
    """
    try:
        import ray
    except ImportError as error:
        raise UnlearnError(INSTALL_RAY) from error
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, include_dashboard=False, num_cpus=None if _address() else max(count, 1))
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=1, max_retries=0)(_on_ray)  # its memory goes with it
    waiting = dict[Any, str]()
    try:
        for key, job in jobs.items():
            if claim(key):
                waiting[remote.remote(dict(job))] = key
        for key in waiting.values():
            said(key, "on the cluster")
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            key = waiting.pop(ready)
            try:
                yield key, ray.get(ready)
            except ray.exceptions.RayError as error:  # a worker that died
                yield key, failed(f"the worker did not end well: {str(error).splitlines()[0]}")
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
        if ours:
            ray.shutdown()


EXECUTORS = {"local": in_processes, "ray": on_ray}


def _claimed(claim: Claim, key: str, *rest: Any) -> Outcome | None:
    return _in_process(key, *rest) if claim(key) else None


def _in_process(
    key: str, job: Job, logs: Path, said: Said, state: tuple[set[subprocess.Popen[str]], threading.Event],
    environment: Mapping[str, str],
) -> Outcome:  # fmt: skip
    running, stopping = state
    logs.mkdir(parents=True, exist_ok=True)
    outcome: Outcome | None = None
    with (logs / f"{key}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "easyedit_unlearn.bench.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log, text=True, encoding="utf-8", start_new_session=True, env=environment,
        )  # fmt: skip
        running.add(process)
        if stopping.is_set():
            process.terminate()
        assert process.stdin and process.stdout  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        said(key, "starting")
        for line in process.stdout:
            try:
                message = json.loads(line)
            except ValueError:  # it was ended while it wrote
                break
            outcome = message.get("outcome", outcome)
            if "progress" in message:
                what, done, total = message["progress"]
                said(key, f"{what} ({done}/{total})")
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # which ends a worker that still runs
        process.stdout.close()
        code = process.wait()
        running.discard(process)
    return outcome or failed(f"the worker ended with {_ending(code)}; see {log.name}")


def _on_ray(job: dict[str, Any]) -> Outcome:
    return run_job(job, no_progress)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _address() -> str | None:
    return os.environ.get("RAY_ADDRESS")
