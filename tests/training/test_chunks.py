"""Chunks: an epoch's images in its order, one chunk read ahead, a bounded number of bytes."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcr.data.splitting import Subset
from hcr.data.views import ImageView
from hcr.training import chunks as module
from hcr.training.chunks import MOST_BYTES, Chunk, chunks, steps_per_chunk

SHAPE = (3, 2, 1)


def a_subset(num_images: int) -> Subset:
    """A view of every second image of a larger set, from its end to its start."""
    base = np.random.default_rng(0).integers(0, 256, (2 * num_images, *SHAPE), dtype=np.uint8)
    index = np.arange(2 * num_images)[::-2]
    return Subset(ImageView(base, index), index % 10, index)


@given(num_images=st.integers(1, 60), batch_size=st.integers(1, 20), steps=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_chunks_of_an_epoch_are_its_images_and_labels_in_its_order(
    num_images: int, batch_size: int, steps: int, seed: int
) -> None:
    train = a_subset(num_images)
    order = np.random.default_rng(seed).permutation(num_images)[: max(1, num_images - seed % 3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_BYTES", steps * batch_size * int(np.prod(SHAPE)))
        read = list(chunks(train, order, batch_size))
    assert np.array_equal(np.concatenate([chunk.images for chunk in read]), train.images[:][order])
    assert np.array_equal(np.concatenate([chunk.labels for chunk in read]), train.labels[order])
    assert {(chunk.images.dtype.name, chunk.labels.dtype.name) for chunk in read} == {("uint8", "int32")}
    assert all(len(chunk) == steps * batch_size for chunk in read[:-1])
    assert all(chunk.images.flags.c_contiguous and len(chunk.images) == len(chunk) for chunk in read)


@pytest.mark.parametrize(
    ("image_shape", "batch_size", "steps"),
    [((28, 28, 1), 64, 16), ((28, 28, 1), 1024, 16), ((64, 64, 3), 256, 6), ((512, 512, 3), 64, 1)],
)
def test_a_chunk_has_16_steps_unless_these_are_too_large(
    image_shape: tuple[int, ...], batch_size: int, steps: int
) -> None:
    assert steps_per_chunk(image_shape, batch_size) == steps
    step_bytes = int(np.prod(image_shape)) * batch_size
    assert steps == 1 or steps * step_bytes <= MOST_BYTES


class Slow:
    """Images that tell of each read, the second of which waits to be allowed."""

    shape, dtype = (100, *SHAPE), np.dtype(np.uint8)

    def __init__(self) -> None:
        self.reads, self.second, self.go_on = 0, threading.Event(), threading.Event()

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.reads += 1
        if self.reads == 2:
            self.second.set()
            assert self.go_on.wait(30)
        return np.zeros((len(rows), *SHAPE), np.uint8)


def slow_chunks() -> tuple[Slow, Any]:
    images: Any = Slow()
    train = Subset(images, np.zeros(100, np.int64), np.arange(100))
    return images, chunks(train, np.arange(100), batch_size=1)


def test_the_next_chunk_and_no_other_is_read_while_one_is_used() -> None:
    images, read = slow_chunks()
    assert isinstance(next(read), Chunk)
    assert images.second.wait(30)  # though nobody has asked for it yet
    images.go_on.set()
    read.close()
    assert images.reads == 2


def test_a_training_that_stops_leaves_no_thread() -> None:
    images, read = slow_chunks()
    next(read)
    images.go_on.set()
    read.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chunks")]


def test_a_failure_to_read_is_raised_where_the_chunk_is_used() -> None:
    train = a_subset(5)
    with pytest.raises(IndexError):
        list(chunks(train, np.array([0, 5]), batch_size=1))
