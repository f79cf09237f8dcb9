"""Arrays that take long to compute, kept in the user's cache."""

import contextlib
import os
import time
from collections.abc import Callable

import numpy as np
import platformdirs
from numpy.typing import NDArray

FOLDER = "computed"
UNUSED_S = 30 * 24 * 3600  # a file that was not read for so long is removed

_kept: dict[str, NDArray[np.intp]] = {}


def keep(key: str, compute: Callable[[], NDArray[np.intp]]) -> NDArray[np.intp]:
    """The array of whole numbers with this key; computed if no process of this machine has kept it.

    Without a cache folder that can be written, it is kept in this process.

    Args:
        key: a file name that tells everything that `compute` depends on, such as a digest.
    """
    if key not in _kept:
        _kept[key] = _from_disk(key, compute)
    return _kept[key].copy()


def _from_disk(key: str, compute: Callable[[], NDArray[np.intp]]) -> NDArray[np.intp]:
    file = platformdirs.user_cache_path("hcr") / FOLDER / f"{key}.npy"
    try:
        return np.asarray(np.load(file, allow_pickle=False), np.intp)
    except (OSError, ValueError, EOFError):  # it is not there, or damaged
        found = compute()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, found.astype(np.int32), allow_pickle=False)
        partial.replace(file)
        for old in file.parent.iterdir():
            if old.stat().st_atime < time.time() - UNUSED_S and old.stat().st_mtime < time.time() - UNUSED_S:
                old.unlink()
    return found
