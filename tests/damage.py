"""Damaged copies of a file, for tests of readers: cut short, with a flipped bit; and how much memory a reader takes."""

import contextlib
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hcr.config.errors import DataError
from hcr.data.raw import Raw

COUNT = 200


def cut(path: Path, count: int = COUNT) -> Iterator[str]:
    """Cut the file at `path` at `count` lengths, one after the other; at the end it is whole again."""
    whole = path.read_bytes()
    for length in sorted({int(n) for n in np.linspace(0, len(whole) - 1, count)}):
        path.write_bytes(whole[:length])
        yield f"{length} of {len(whole)} bytes"
    path.write_bytes(whole)


def flipped(path: Path, count: int = COUNT) -> Iterator[str]:
    """Flip one bit of the file at `path`, `count` times, half of them near its ends; at the end it is whole again."""
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    edge = min(len(whole), 200)
    anywhere, near_ends = rng.integers(0, len(whole) * 8, count // 2), rng.integers(-edge * 8, edge * 8, count // 2)
    for bit in (int(bit) % (len(whole) * 8) for bit in (*anywhere, *near_ends)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        yield f"bit {bit} of {len(whole) * 8}"
    path.write_bytes(whole)


def outcome(read: Callable[[], Raw]) -> Raw | str:
    """What `read` returns, or the message of its DataError, which is one line; any other error is raised."""
    try:
        return read()
    except DataError as error:
        assert "\n" not in str(error)
        return str(error)


@contextlib.contextmanager
def memory(most_bytes: int) -> Iterator[None]:
    """Fail if what runs inside holds more than `most_bytes` at a time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most_bytes


def same(one: Raw, other: Raw) -> bool:
    """True if two data sets have the same arrays, sides and names."""
    return one.class_names == other.class_names and [
        (p.side, np.asarray(p.images).tolist(), p.labels.tolist(), None if p.groups is None else p.groups.tolist())
        for p in one.parts
    ] == [
        (p.side, np.asarray(p.images).tolist(), p.labels.tolist(), None if p.groups is None else p.groups.tolist())
        for p in other.parts
    ]
