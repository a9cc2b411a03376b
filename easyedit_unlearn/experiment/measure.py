"""Seconds and peak memory of a block of work."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import psutil


class Measured:
    """``with Measured() as cost:`` then ``cost.seconds`` and ``cost.peak_memory_mb``.

    Peak memory is the whole process: resident memory sampled 20 times a second, plus, where CUDA is in use, the
    peak that torch allocated there. In megabytes of 10^6 bytes.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak_memory_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Measured:
        self._reset_cuda()
        self._start = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._start
        self._stop.set()
        self._thread.join()
        self.peak_memory_mb = (self._peak + self._cuda_peak()) / 1e6

    def _sample(self) -> None:
        process = psutil.Process()
        self._peak = process.memory_info().rss
        while not self._stop.wait(0.05):
            self._peak = max(self._peak, process.memory_info().rss)

    @staticmethod
    def _reset_cuda() -> None:
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()

    @staticmethod
    def _cuda_peak() -> int:
        import torch

        return (
            sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count())))
            if (torch.cuda.is_initialized())
            else 0
        )
