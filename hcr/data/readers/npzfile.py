"""Arrays from NumPy's files, .npz and .npy; every length is checked before it is used, and nothing is unpickled."""

import io
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
LAST_CHARACTER = 0x10FFFF  # of Unicode
LONGEST_HEADER = 1 << 16  # bytes of an array's header; NumPy reads as many as it declares, up to 4 GiB
DEFLATE_RATIO = 1_032  # bytes that a byte of a deflate stream can at most become
MAPPED_BYTES = 1 << 28  # an .npy from this size on is memory-mapped


class NpzError(Exception):
    """A file that is damaged, or does not hold arrays of numbers; the message is one line."""


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
        for name, entry in entries.items():
            _check_packing(name, entry, path.stat().st_size)
        return {name: _read(archive, name, entry) for name, entry in entries.items()}


def read_npy(path: Path, most_bytes: int) -> NDArray[Any]:
    """The array of the .npy file at `path`; from MAPPED_BYTES on, read from the disk as it is used.

    Args:
        most_bytes: largest size of the array.

    Raises:
        NpzError: the file is damaged, or holds neither numbers nor text.
        OSError: it cannot be read.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        try:
            shape, dtype, header_bytes = _header(file)
        except Exception as error:  # a damaged header raises many types
            raise NpzError(f"not a readable .npy file; it may be cut short ({one_line(error)})") from error
        _check(path.name, shape, dtype, size_bytes - header_bytes)
        if size_bytes > most_bytes:
            raise NpzError(f"expected a data set that fits into memory, got an array of {size_bytes / 2**30:,.1f} GiB")
        if size_bytes >= MAPPED_BYTES:
            return npy.open_memmap(path, mode="r")
        file.seek(0)
        return _with_characters(np.asarray(npy.read_array(file, allow_pickle=False)), path.name)


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
                    shape, dtype, _ = _header(file)
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


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape and dtype of an array, and the length of its header in bytes."""
    start = io.BytesIO(file.read(LONGEST_HEADER))
    version = npy.read_magic(start)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"unknown version {version[0]}.{version[1]}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(start)
    return shape, dtype, start.tell()


def _check(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], left_bytes: int) -> None:
    """Refuse an array of other things than numbers and text, or of another size than its header declares."""
    if dtype.hasobject:
        raise NpzError(
            f"expected arrays of numbers, got Python objects in `{name}` (which are not unpickled);"
            " save np.array(x.tolist()): images of equal size, labels all numbers or all text"
        )
    if dtype.kind not in READABLE or dtype.itemsize == 0:
        raise NpzError(f"expected `{name}` to be an array of numbers, got {dtype}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != left_bytes:
        raise NpzError(f"cut short or changed: `{name}` of shape {shape} has {left_bytes:,} bytes")


def _with_characters(array: NDArray[Any], name: str) -> NDArray[Any]:
    """`array`, after checking that text in it consists of characters: Python cannot make a text of another number."""
    if array.dtype.kind == "U" and array.size:
        codes = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if codes.max() > LAST_CHARACTER:
            raise NpzError(f"damaged: the text in `{name}` has numbers that are no characters")
    return array


def _check_packing(name: str, entry: zipfile.ZipInfo, archive_bytes: int) -> None:
    """Refuse an array that is packed otherwise than NumPy does it, or declares more than its packed bytes can hold."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NpzError(
            f"expected arrays as np.savez or np.savez_compressed writes them, got `{name}` packed by another"
            f" method ({entry.compress_type}); unpack the archive, and save it again"
        )
    ratio = 1 if entry.compress_type == zipfile.ZIP_STORED else DEFLATE_RATIO
    if entry.file_size > ratio * min(entry.compress_size, archive_bytes):
        raise NpzError(
            f"cut short or changed: `{name}` declares {entry.file_size:,} bytes, more than its"
            f" {entry.compress_size:,} packed ones can hold"
        )


def _read(archive: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array, after checking that its header and the archive's directory agree on its size.

    The archive's reader compares the checksum when it comes to the end of the array.
    """
    try:
        with archive.open(entry) as file:
            shape, dtype, header_bytes = _header(file)
        _check(name, shape, dtype, entry.file_size - header_bytes)
        with archive.open(entry) as file:
            return _with_characters(np.asarray(npy.read_array(file, allow_pickle=False)), name)
    except NpzError:
        raise
    except Exception as error:  # as above
        raise _damaged(error) from error
