"""IDX files, plain or gzip, and the data sets that they form: MNIST, EMNIST, Fashion-MNIST, KMNIST, Kannada-MNIST.

Source:
    The format: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".
    The mapping and the orientation of EMNIST: G. Cohen et al. 2017, "EMNIST: an extension of MNIST to handwritten
    letters", and the read-me file that comes with it.
"""

import gzip
import math
import re
import struct
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError, one_line
from hcr.data.files import START_BYTES, files_in, start_of, what_it_is
from hcr.data.memory import most_bytes
from hcr.data.raw import Raw, RawPart, Side
from hcr.data.readers.classcodes import class_names_of, indices_of, read_mapping
from hcr.data.readers.pairing import ORDER, Group, grouped, listed, named, shown

Array = NDArray[Any]

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_DIMENSIONS = 4
GZIP = b"\x1f\x8b"
DEFLATE_RATIO = 1_032  # bytes that a byte of a deflate stream can at most become
BLOCK_BYTES = 1 << 20
ENDING = re.compile(r"[-._]idx\d-(?:ubyte|byte|short|int|float|double)(?:\.gz)?$", re.IGNORECASE)
EXPECTED = (
    "train-images-idx3-ubyte and train-labels-idx1-ubyte (with any prefix, .gz or not), and those of t10k or test"
)


@dataclass(frozen=True)
class IdxSet:
    """The files of a data set.

    Attributes:
        parts: for each side that there is, the files of images and labels, in order of ORDER.
        mapping: EMNIST's file of class names, if there is one.
    """

    parts: tuple[tuple[Side, Path, Path], ...]
    mapping: Path | None

    @property
    def files(self) -> list[Path]:
        every = [file for _, images, labels in self.parts for file in (images, labels)]
        return every if self.mapping is None else [*every, self.mapping]


def read_idx_set(path: Path, transposed: Literal["auto", "true", "false"] = "auto") -> Raw:
    """The data set of IDX files in the folder `path`, or of the file `path` and those beside it.

    Args:
        transposed: "true" if the files hold images column by column, as EMNIST's do; "auto": if their names say emnist.

    Returns:
        Images upright, in the numbers of the files; with EMNIST's mapping file, its class names and their indices.
        For letters that the mapping gives as upper and lower case, the name is the upper one, as it comes first.

    Raises:
        DataError: a file is missing, damaged or no IDX file, or there is more than one data set.
    """
    found, notes = find_idx_set(path), []
    is_emnist = re.match(r"emnist[-_.]", found.parts[0][1].name, re.IGNORECASE) is not None
    is_turned = is_emnist if transposed == "auto" else transposed == "true"
    codes = None if found.mapping is None else read_mapping(found.mapping)
    parts = []
    for side, image_file, label_file in found.parts:
        images, labels = read_idx(image_file), read_idx(label_file)
        if images.ndim < 2 or labels.ndim > 2:
            raise DataError(
                f"{image_file}: expected images here, and their labels in {label_file.name},"
                f" got arrays of shape {images.shape} and {labels.shape}"
            )
        if is_turned and images.ndim < 3:
            raise DataError(
                f"{image_file}: expected images of height and width, to turn them (dataset.transposed:"
                f" {transposed}), got an array of shape {images.shape}; set dataset.transposed=false"
            )
        images = images.swapaxes(1, 2) if is_turned else images
        labels = labels if codes is None else indices_of(labels.reshape(-1), codes, str(label_file))
        parts.append(RawPart(images=images, labels=labels, side=side, names=(image_file.name, label_file.name)))
    if is_turned:
        why = "as EMNIST's are" if transposed == "auto" else "dataset.transposed: true"
        notes.append(f"{found.parts[0][1].name}: its images are stored column by column ({why}) and were put upright")
    return Raw(parts=tuple(parts), class_names=None if codes is None else class_names_of(codes), notes=tuple(notes))


def find_idx_set(path: Path) -> IdxSet:
    """The files that `read_idx_set(path)` reads.

    Raises:
        DataError: one is missing, or a folder holds more than one data set.
    """
    is_folder = path.is_dir()
    folder = path if is_folder else path.parent
    if not is_folder and (not ENDING.search(path.name) or named(_stem(path.name)) is None):
        raise DataError(f"{path}: expected a file named like {EXPECTED}{_got(start_of(path)) or '; rename it'}")
    found = _sets(folder, path)
    if not is_folder:
        found = [(group, files) for group, files in found if path in files.values()]
    complete = [(group, files) for group, files in found if group.is_complete]
    if len(complete) > 1:
        names = sorted(files[group.names["train"]["images"]].name for group, files in complete)
        raise DataError(
            f"{path}: expected one data set, got {len(complete)}; set dataset.path to one of"
            f" {listed(map(shown, names), '')} in it"
        )
    if not complete:
        every = sorted(file.name for _, files in found for file in files.values())
        raise DataError(f"{path}: expected {EXPECTED}, got {listed(map(shown, every), 'no IDX file')}")
    group, files = complete[0]
    sides = [side for side in ORDER if side in group.names]
    parts = tuple((s, files[group.names[s]["images"]], files[group.names[s]["labels"]]) for s in sides)
    return IdxSet(parts, _mapping(parts[0][1]))


def read_idx(path: Path) -> Array:
    """The array of one IDX file, plain or gzip, in native byte order.

    Never allocates more than the file can hold: what the header declares is compared with the size of the file first.

    Raises:
        DataError: it is no IDX file, cut short, longer than declared, damaged, or larger than half of the memory.
    """
    try:
        size_bytes = path.stat().st_size
        with ExitStack() as stack:
            plain: IO[bytes] = stack.enter_context(path.open("rb"))
            start = plain.read(START_BYTES)
            plain.seek(0)
            is_packed = start.startswith(GZIP)
            file = stack.enter_context(gzip.GzipFile(fileobj=plain)) if is_packed else plain
            return _array(file, path, size_bytes, is_packed)
    except DataError:
        raise
    except (OSError, EOFError, zlib.error, struct.error) as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        raise DataError(f"{path}: its gzip data is damaged or cut short ({one_line(error)})") from error


def _array(file: IO[bytes] | gzip.GzipFile, path: Path, size_bytes: int, is_packed: bool) -> Array:
    start = file.read(START_BYTES)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in DTYPES or not 1 <= start[3] <= MOST_DIMENSIONS:
        raise DataError(f"{path}: expected an IDX file of 1 to {MOST_DIMENSIONS} dimensions{_got(start)}")
    dtype, header_bytes = np.dtype(DTYPES[start[2]]), 4 + 4 * start[3]
    if len(start) < header_bytes:
        raise DataError(f"{path}: cut short in its header")
    shape = struct.unpack_from(f">{start[3]}I", start, 4)
    declared = math.prod(shape) * dtype.itemsize
    size = "x".join(map(str, shape))
    most = size_bytes * DEFLATE_RATIO if is_packed else size_bytes - header_bytes
    if declared > most or (not is_packed and declared < most):
        kind = "cut short or changed" if declared > most else "longer than its header declares"
        raise DataError(f"{path}: {kind}: {size} numbers are {declared:,} bytes, but the file has {size_bytes:,}")
    if declared > most_bytes():
        raise DataError(
            f"{path}: expected a data set that fits into memory ({most_bytes() / 2**30:.0f} GiB),"
            f" got {declared / 2**30:,.1f} GiB"
        )
    numbers = np.empty(declared, np.uint8)
    got = min(declared, len(start) - header_bytes)
    numbers[:got] = np.frombuffer(start, np.uint8, got, header_bytes)
    surplus = len(start) - header_bytes > declared
    while got < declared:
        block = file.read(min(BLOCK_BYTES, declared - got))
        if not block:
            raise DataError(f"{path}: cut short: {size} numbers are {declared:,} bytes, but there are {got:,}")
        numbers[got : got + len(block)] = np.frombuffer(block, np.uint8)
        got += len(block)
    if surplus or file.read(1):  # at the end, gzip compares its checksum
        raise DataError(f"{path}: longer than its header declares ({size} numbers)")
    array = numbers.view(dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _got(start: bytes) -> str:
    """`; got ...` if the file starts as one of another kind does."""
    what = None if start[:2] == b"\0\0" or start.startswith(GZIP) else what_it_is(start)
    return "" if what is None else f"; got {what}"


def _stem(name: str) -> str:
    return ENDING.sub("", name)


def _sets(folder: Path, path: Path) -> list[tuple[Group, dict[str, Path]]]:
    """The data sets in `folder`, each with its files by stem.

    Files are of one data set only if their names are spelled alike (`train-images-idx3-ubyte` or
    `train-images.idx3-ubyte`). Of a file and its .gz, the one that is `path` is taken, else the one that is
    packed like `path`, else the unpacked one.
    """
    by_spelling: dict[str, dict[str, Path]] = {}
    wants_packed = path.name.endswith(".gz")
    for file in sorted(files_in(folder), key=lambda file: (file == path, file.name.endswith(".gz") == wants_packed)):
        ending = ENDING.search(file.name)
        if ending is not None:
            by_spelling.setdefault(ending[0][0], {})[_stem(file.name)] = file
    return [
        (group, {name: files[name] for name in group.listed})
        for _, files in sorted(by_spelling.items())
        for group in grouped(files, str(folder), "file")
    ]


def _mapping(images: Path) -> Path | None:
    """EMNIST's mapping file: for emnist-letters-train-images..., emnist-letters-mapping.txt."""
    prefix = re.match(r"(.*[-_.])(?:train|test)[-_.]", images.name)
    file = images.with_name(f"{prefix[1]}mapping.txt") if prefix else None
    return file if file is not None and file in files_in(images.parent) else None
