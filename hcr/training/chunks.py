"""Chunks of an epoch: images and labels of a few steps, read from the data set while the steps before are trained."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcr.data.pixels import Images
from hcr.data.splitting import Indices, Subset

MOST_STEPS = 16  # steps in a chunk: a smooth display at negligible cost
MOST_BYTES = 20 * 2**20  # size of a chunk's images, unless one step has more; up to four such chunks are in memory


@dataclass(frozen=True)
class Chunk:
    """The images (n, H, W, C) and labels (n,) of successive steps, in the order in which they are trained on."""

    images: Images
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


def steps_per_chunk(image_shape: tuple[int, ...], batch_size: int) -> int:
    """Steps in a chunk: MOST_STEPS, or as many as fit into MOST_BYTES; at least 1."""
    step_bytes = int(np.prod(image_shape)) * batch_size
    return max(1, min(MOST_STEPS, MOST_BYTES // step_bytes))


def chunks(train: Subset, order: Indices, batch_size: int) -> Generator[Chunk]:
    """The images `order` of `train` in chunks of whole steps; only the last step may be smaller.

    A thread reads the next chunk while the caller uses the one before.

    Args:
        train: training images, such as a view of a memory-mapped file.
        order: (n,), n of 1 or more, the images of an epoch, in the order of training.
        batch_size: images per step.
    """
    size = batch_size * steps_per_chunk(train.images.shape[1:], batch_size)
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="chunks") as thread:
        ahead = thread.submit(_read, train, parts[0])
        for part in parts[1:]:
            chunk, ahead = ahead.result(), thread.submit(_read, train, part)
            yield chunk
        yield ahead.result()


def _read(train: Subset, part: Indices) -> Chunk:
    # New arrays each time: TensorFlow may use an array's memory as its own for as long as it computes with it.
    return Chunk(train.images[part], train.labels[part].astype(np.int32))
