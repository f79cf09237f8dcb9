"""Arrays from a NumPy archive (.npz); every length is checked before it is used, and nothing is unpickled."""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hcr.config.errors import one_line

READABLE = "uifbUS"  # NumPy's kinds of numbers and of text


class NpzError(Exception):
    """An archive that is damaged, or does not hold arrays of numbers; the message is one line."""


def read_npz(path: Path, names: Collection[str], most_bytes: int) -> dict[str, NDArray[Any]]:
    """The arrays `names` of the archive at `path`, if present.

    Args:
        most_bytes: largest total size of the arrays in memory.

    Raises:
        NpzError: the archive is damaged or too large, or an array holds neither numbers nor text.
    """
    with _opened(path) as archive:
        inside = {entry.filename: entry for entry in archive.infolist()}
        entries = {name: inside[f"{name}.npy"] for name in names if f"{name}.npy" in inside}
        size_bytes = sum(entry.file_size for entry in entries.values())
        if size_bytes > most_bytes:
            raise NpzError(
                f"expected a data set that fits into memory ({most_bytes / 2**30:.0f} GiB), got arrays of"
                f" {size_bytes / 2**30:,.0f} GiB"
            )
        return {name: _read(archive, name, entry) for name, entry in entries.items()}


def list_npz(path: Path) -> dict[str, str]:
    """Shape and dtype of every array of the archive at `path`, by name; reads only the headers.

    Raises:
        NpzError: the file is no readable archive.
    """
    found = {}
    with _opened(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            try:
                with archive.open(entry) as file:
                    shape, dtype = _header(file)
                found[name] = f"{shape} {'Python objects' if dtype.hasobject else dtype}"
            except Exception:  # any other content
                found[name] = "(no array)"
    return found


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # a damaged archive raises many types
        raise _damaged(error) from error


def _damaged(error: BaseException) -> NpzError:
    return NpzError(f"not a readable NumPy .npz file; it may be cut short ({one_line(error)})")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _read(archive: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array, after checking that its header and the archive's directory agree on its size."""
    try:
        with archive.open(entry) as file:
            shape, dtype = _header(file)
            left_bytes = entry.file_size - file.tell()
        if dtype.hasobject:
            raise NpzError(
                f"expected arrays of numbers, got Python objects in `{name}` (which are not unpickled);"
                " save np.array(x.tolist()): images of equal size, labels all numbers or all text"
            )
        if dtype.kind not in READABLE or dtype.itemsize == 0:
            raise NpzError(f"expected `{name}` to be an array of numbers, got {dtype}")
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != left_bytes:
            raise NpzError(f"cut short or changed: `{name}` of shape {shape} has {left_bytes:,} bytes")
        with archive.open(entry) as file:
            return np.asarray(npy.read_array(file, allow_pickle=False))
    except NpzError:
        raise
    except Exception as error:  # as above
        raise _damaged(error) from error
