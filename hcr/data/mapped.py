"""Large arrays in files, memory-mapped."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def new_images(file: Path | None, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A new array (N, h, w, c) in `file`; None: in memory.

    Raises:
        OSError: there is no room on the disk. Without this check, writing to the map would end the process by SIGBUS.
    """
    if file is None:
        return np.empty(shape, np.uint8)
    images = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return images
