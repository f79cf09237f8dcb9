"""System metrics: how busy the machine and the run's process are while a run trains, for MLflow's System metrics page.

A thread takes a sample every few seconds, less often the longer the run lasts. The samples of an epoch enter the
journal in one event after it, each with the time when it was taken; a killed run loses those of its last epoch.
"""

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from hcr.importing import import_needed
from hcr.tracking.events import SYSTEM
from hcr.tracking.journal import Journal, Sample, now_ms

EVERY_S = 2.0  # between samples at first
MOST_OFTEN = 200  # later, the 200th part of the run's time so far: some 1,000 samples in ten hours
MEGABYTE = 1e6


class SystemMetrics:
    """Samples the machine while the `with` block trains, and writes the samples to a journal.

    Args:
        journal: of the run.
        is_on: False to do nothing at all.
        every_s: seconds between samples at first.

    Attributes:
        cpu_s: CPU seconds that the thread has used.
    """

    def __init__(self, journal: Journal, *, is_on: bool, every_s: float = EVERY_S) -> None:
        self._journal, self._is_on, self._every_s = journal, is_on, every_s
        self.cpu_s = 0.0
        self._samples: list[Sample] = []
        self._error: Exception | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system metrics", daemon=True)
        if is_on:
            import_needed("psutil")

    def __enter__(self) -> Self:
        if self._is_on:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_on:
            self._closing.set()
            self._thread.join()
        if error is None:
            self.record()

    def record(self) -> None:
        """Write the samples since the last call to the journal; called after an epoch."""
        with self._lock:
            samples, self._samples = self._samples, []
            error, self._error = self._error, None
        if samples:
            self._journal.system(samples)
        if error is not None:
            print(f"note: no more system metrics ({type(error).__name__}: {error})", flush=True)

    def _run(self) -> None:
        import psutil

        begun, process = time.monotonic(), psutil.Process()
        try:
            psutil.cpu_percent()  # both measure since the call before
            process.cpu_percent()
            is_closing = False
            while not is_closing:  # also once at the end, so that a short run has a sample
                is_closing = self._closing.wait(max(self._every_s, (time.monotonic() - begun) / MOST_OFTEN))
                memory, own = psutil.virtual_memory(), process.memory_info()
                values = {
                    "cpu_utilization_percentage": psutil.cpu_percent(),
                    "system_memory_usage_megabytes": memory.used / MEGABYTE,
                    "system_memory_usage_percentage": memory.used / memory.total * 100,
                    "process_cpu_utilization_percentage": process.cpu_percent(),
                    "process_memory_usage_megabytes": own.rss / MEGABYTE,
                }
                with self._lock:
                    self._samples.append((now_ms(), _named(values)))
                self.cpu_s = time.thread_time()
        except (psutil.Error, OSError) as error:  # such as a /proc that may not be read
            with self._lock:
                self._error = error


def _named(values: Mapping[str, float]) -> dict[str, float]:
    return {f"{SYSTEM}{name}": round(value, 1) for name, value in values.items()}
