"""Works through many images, on all cores where it pays, with a progress bar for what takes long."""

import math
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from hcr.config.errors import DataError
from hcr.config.training import available_cores
from hcr.console import PlainConsole
from hcr.data.pictures import Decoded, decode_batch
from hcr.data.preparation import Preparation
from hcr.data.raw import Picture

T = TypeVar("T")
R = TypeVar("R")

BATCH = 256  # pictures that a process decodes at a time, if they are small
BATCH_BYTES = 2**24  # of prepared and source images in a batch
FEW = 4_000  # pictures that one process decodes before others would have started
LONG_S = 1.0  # from here on there is a progress bar


def decode_all(
    pictures: Sequence[Picture],
    preparation: Preparation,
    prepared_size: tuple[int, int],
    keeps_sources: tuple[int, int, int] | None,
) -> Iterator[tuple[int, Decoded]]:
    """`decode_batch` of all pictures, in order: the position of each batch's first picture, and the batch.

    Many pictures are decoded by as many processes as this one may use cores; they end with this process.

    Raises:
        DataError: a process died, such as for want of memory.
    """
    size_bytes = prepared_size[0] * prepared_size[1] * preparation.channels + math.prod(keeps_sources or (0,))
    at_a_time = max(1, min(BATCH, BATCH_BYTES // size_bytes))
    starts = range(0, len(pictures), at_a_time)
    decode = partial(decode_batch, preparation=preparation, prepared_size=prepared_size, keeps_sources=keeps_sources)
    with progress("reading pictures", len(pictures)) as advance:
        batches = (pictures[start : start + at_a_time] for start in starts)
        for start, decoded in zip(starts, worked(decode, batches, in_processes=len(pictures) > FEW), strict=True):
            yield start, decoded
            advance(min(start + at_a_time, len(pictures)))


def worked(function: Callable[[T], R], batches: Iterable[T], *, in_processes: bool) -> Iterator[R]:
    """`function` of each batch of pictures, in order.

    With `in_processes`, in as many processes as this one may use cores; they end with this process. Function, batches
    and results must be picklable then.

    Raises:
        DataError: a process died, such as for want of memory.
    """
    processes = available_cores()
    if not in_processes or processes == 1:
        yield from map(function, batches)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads can hang
    with ProcessPoolExecutor(processes, context, _end_with_parent) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(function, batch))
                if len(waiting) >= 4 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that decodes pictures ended, for want of memory, or because it was started by a script"
                " without `if __name__ == '__main__':`"
            ) from error
        finally:
            for job in waiting:
                job.cancel()


class Advance:
    """Tells a progress bar how far the work is; the bar is shown once the work takes long, on a terminal only."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._start = time.monotonic()
        self._bar: Any = None

    def __call__(self, done: int) -> None:
        """Set the number of images done."""
        if self._bar is None:
            if time.monotonic() - self._start < LONG_S or not sys.stderr.isatty():
                return
            self._begin()
        self._bar.update(self._task, completed=done)

    def _begin(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(self._what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=PlainConsole(file=sys.stderr), transient=True)
        bar.start()
        self._task = bar.add_task("", total=self._total)
        self._bar = bar

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """A progress bar for the `with`, on standard error."""
    advance = Advance(what, total)
    try:
        yield advance
    finally:
        advance.close()


def _end_with_parent() -> None:
    """End this process when its parent ends, even by SIGKILL: the pool's pipes would keep it waiting forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
