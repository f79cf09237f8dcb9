"""Numeric arrays from a MATLAB v5 file; every length is checked before it is used.

SciPy's reader is written in C and trusts the file: some damaged files crash the process.

Source:
    The MathWorks, "MAT-File Format", chapter 1, "Level 5 MAT-File Format".
"""

import itertools
import math
import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 128
MATRIX, COMPRESSED, LAST_TYPE = 14, 15, 18  # element types
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMERIC_CLASSES = range(6, 16)
ARRAYS = ("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")  # their names
CLASSES = {1: "a cell array", 2: "a structure", 3: "an object", 4: "text", 5: "a sparse matrix"}
COMPLEX, LOGICAL = 0x0800, 0x0200  # flags of a variable
MOST_DIMENSIONS = 32
LONGEST_PROLOGUE = 4_096  # bytes of a matrix before its numbers: flags, dimensions, name
STRUCTURE = 2
LONGEST_FIELD = 64  # bytes of a field's name with its NUL; MATLAB has 32 or 64
DEFLATE_RATIO = 1_032  # bytes that a byte of a deflate stream can at most become
PADDING = 8  # bytes that may follow a matrix in a compressed element
BLOCK_BYTES = 1 << 20


class MatError(Exception):
    """A file that holds no numbers, or too many; the message is one line."""


class DamagedMat(MatError):
    """A file that is damaged, or is not a MATLAB v5 file."""


class _Element(NamedTuple):
    kind: int
    data: memoryview


def read_mat(path: Path, names: Collection[str], most_bytes: int) -> dict[str, NDArray[Any]]:
    """The variables `names` of the file at `path`, if present, with the stored number type; logical as bool.

    Args:
        names: of variables, or of fields of structures such as `dataset.train.images`.
        most_bytes: largest size of the file, and of a variable, in memory.

    Raises:
        MatError: the file is damaged or too large, or a variable is not a table of numbers.
        OSError: the file cannot be read.
    """
    data, order = _read(path, most_bytes)
    found = {}
    outer = {name.partition(".")[0] for name in names}
    for element in _elements(data[HEADER_BYTES:], order):
        if element.kind == COMPRESSED:
            matrix = _unpacked(element.data, order, outer, most_bytes)
        else:
            matrix = element.data if element.kind == MATRIX else None
        top = None if matrix is None else _name_if_any(matrix, order)
        if matrix is None or top not in outer:
            continue
        for name in names:
            first, *fields = name.split(".")
            inner = _field(matrix, fields, order) if first == top else None
            if inner is not None:
                found[name] = _numbers(inner, name, order, most_bytes)
    return found


def list_mat(path: Path, most_bytes: int) -> dict[str, str]:
    """Shape and type of every variable of the file at `path`, by name.

    Raises:
        MatError, OSError: as `read_mat`.
    """
    data, order = _read(path, most_bytes)
    found = {}
    for element in _elements(data[HEADER_BYTES:], order):
        matrix = element.data
        if element.kind == COMPRESSED:
            try:
                start = memoryview(zlib.decompressobj().decompress(element.data, LONGEST_PROLOGUE))
            except zlib.error as error:
                raise DamagedMat(f"it does not unpack ({error})") from error
            matrix = start[_tag(start, 0, order)[2] :]
        if element.kind in (MATRIX, COMPRESSED) and _name_if_any(matrix, order):
            flags, shape, name, _ = _prologue(matrix, order)
            kind = flags & 0xFF
            what = ARRAYS[kind - NUMERIC_CLASSES.start] if kind in NUMERIC_CLASSES else CLASSES.get(kind, "unknown")
            found[name] = f"{shape} {'logical' if flags & LOGICAL else what}"
    return found


def _read(path: Path, most_bytes: int) -> tuple[memoryview, str]:
    """The bytes of a file, and their byte order in the notation of `struct`."""
    with path.open("rb") as file:
        mark = file.read(HEADER_BYTES)[126:]
        if mark not in (b"IM", b"MI"):
            raise DamagedMat("its header is not one of MATLAB v5")
        size_bytes = path.stat().st_size
        if size_bytes > most_bytes:
            raise MatError(f"expected a file that fits into memory, got one of {size_bytes / 2**30:,.0f} GiB")
        file.seek(0)
        return memoryview(file.read()), "<" if mark == b"IM" else ">"


def _name_if_any(matrix: memoryview, order: str) -> str | None:
    """A variable's name; None for an unnamed element, such as a function, which is never needed."""
    try:
        return _name(matrix, order)
    except DamagedMat:
        return None


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """The elements in order; all but compressed ones are padded to 8 bytes."""
    at = 0
    while at < len(data):
        kind, size, begin = _tag(data, at, order)
        if not 1 <= kind <= LAST_TYPE:
            raise DamagedMat(f"an element has the unknown type {kind}")
        if begin + size > len(data):
            raise DamagedMat("it is cut short")
        yield _Element(kind, data[begin : begin + size])
        small = begin == at + 4
        at = at + 8 if small else begin + size + (0 if kind == COMPRESSED else -size % 8)


def _tag(data: memoryview, at: int, order: str) -> tuple[int, int, int]:
    """Type and size of the element at `at`, and the offset of its data; data of up to 4 bytes is inside the tag."""
    if at + 8 > len(data):
        raise DamagedMat("it is cut short")
    first, second = struct.unpack_from(f"{order}II", data, at)
    if first >> 16:
        if first >> 16 > 4:
            raise DamagedMat("a small element is longer than 4 bytes")
        return first & 0xFFFF, first >> 16, at + 4
    return first, second, at + 8


def _unpacked(data: memoryview, order: str, names: Collection[str], most_bytes: int) -> memoryview | None:
    """The matrix in a compressed element if its name is in `names`; unpacks no more than the declared size."""
    unpacker = zlib.decompressobj()
    try:
        start = unpacker.decompress(data, LONGEST_PROLOGUE)
        kind, size, begin = _tag(memoryview(start), 0, order)
        if kind != MATRIX or _name_if_any(memoryview(start)[begin:], order) not in names:
            return None
        if size > most_bytes:
            raise MatError(f"expected a data set that fits into memory, got a variable of {size / 2**30:.1f} GiB")
        if size > DEFLATE_RATIO * len(data):
            raise DamagedMat(f"a variable declares {size:,} bytes, more than its {len(data):,} packed ones can hold")
        most = begin + size + PADDING
        whole, got = bytearray(most), min(len(start), most)
        whole[:got] = start[:got]
        while got < most:
            block = unpacker.decompress(unpacker.unconsumed_tail, min(BLOCK_BYTES, most - got))
            if not block:
                break
            whole[got : got + len(block)] = block
            got += len(block)
    except zlib.error as error:
        raise DamagedMat(f"it does not unpack ({error})") from error
    if got < begin + size:
        raise DamagedMat("it is cut short")
    if not unpacker.eof or len(start) > most:  # only at its end does zlib compare the checksum
        raise DamagedMat("a variable is longer than it declares, or cut short")
    return memoryview(whole)[begin : begin + size]


def _prologue(matrix: memoryview, order: str) -> tuple[int, tuple[int, ...], str, Iterator[_Element]]:
    """Flags, dimensions and name of a matrix, and the elements after them."""
    elements = _elements(matrix, order)
    first = list(itertools.islice(elements, 3))
    if len(first) < 3:
        raise DamagedMat("a variable has no name")
    flags, dimensions, name = (element.data for element in first)
    if len(flags) < 4 or len(dimensions) % 4:
        raise DamagedMat("a variable has no dimensions")
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    return struct.unpack_from(f"{order}I", flags)[0], shape, bytes(name).decode("latin-1"), elements


def _name(matrix: memoryview, order: str) -> str:
    return _prologue(matrix, order)[2]


def _field(matrix: memoryview, names: Sequence[str], order: str) -> memoryview | None:
    """The matrix in the field `names[0]`, in its field `names[1]` and so on; None if there is no such field."""
    for name in names:
        flags, shape, _, elements = _prologue(matrix, order)
        if flags & 0xFF != STRUCTURE or math.prod(shape) != 1:
            return None
        length, texts = next(elements, None), next(elements, None)
        if length is None or texts is None or len(length.data) != 4:
            raise DamagedMat("a structure has no fields")
        (each,) = struct.unpack(f"{order}i", length.data)
        if not 1 <= each <= LONGEST_FIELD or len(texts.data) % each:
            raise DamagedMat("a structure has no names of fields")
        fields = [bytes(texts.data[at : at + each]).split(b"\0")[0] for at in range(0, len(texts.data), each)]
        at = fields.index(name.encode()) if name.encode() in fields else None
        value = None if at is None else next(itertools.islice(elements, at, None), None)
        if at is not None and (value is None or value.kind != MATRIX):
            raise DamagedMat(f"the field `{name}` is cut short")
        if value is None:
            return None
        matrix = value.data
    return matrix


def _numbers(matrix: memoryview, name: str, order: str, most_bytes: int) -> NDArray[Any]:
    flags, shape, _, elements = _prologue(matrix, order)
    if flags & 0xFF not in NUMERIC_CLASSES or flags & COMPLEX:
        what = "complex numbers" if flags & COMPLEX else CLASSES.get(flags & 0xFF, "something unknown")
        raise MatError(f"expected `{name}` to be a table of numbers, got {what}")
    element = next(elements, None)
    if element is None or element.kind not in STORED:
        raise DamagedMat(f"`{name}` has no numbers")
    kind = np.dtype(order + STORED[element.kind])
    if (
        not 2 <= len(shape) <= MOST_DIMENSIONS  # MATLAB has no fewer
        or min(shape) < 0
        or math.prod(shape) * kind.itemsize != len(element.data)
    ):
        size = "x".join(map(str, shape))
        raise DamagedMat(f"`{name}` has {len(element.data):,} bytes, which does not match its size {size}")
    if len(element.data) > most_bytes:
        size = f"{len(element.data) / 2**30:.1f} GiB"
        raise MatError(f"expected a data set that fits into memory, got `{name}` of {size}")
    # MATLAB stores column by column.
    values = np.frombuffer(element.data, kind).reshape(shape, order="F")
    return values != 0 if flags & LOGICAL else values
