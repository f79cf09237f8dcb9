"""Which data format reads a file or folder, by its first bytes and then its name; nothing is decoded or executed."""

import os
import re
import zlib
from itertools import islice
from pathlib import Path

from hcr.data.files import IDX_TYPES
from hcr.data.raw import PICTURE_ENDINGS

START_BYTES = 4096
MOST_ENTRIES = 1000  # of a folder that are looked at
MOST_FOLDERS = 20  # subfolders that are looked into
DEEPEST = 2  # folders below the first: train/class

TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
BY_NAME = {
    ".mat": "mat",
    ".npz": "npz",
    ".npy": "npz",
    ".parquet": "parquet",
    ".idx": "idx",
    "ubyte": "idx",
    ".csv": "csv",
    ".tsv": "csv",
}
_SEPARATOR = re.compile(rb"[,;\t]| +")


def sniff(path: Path) -> str | None:
    """The name of the format that would read `path`, such as `csv`; None if none is known to.

    Reads at most START_BYTES of at most a few files, and lists at most MOST_ENTRIES entries of a folder. A name decides
    only where the content says nothing, as in an empty file.
    """
    try:
        if path.is_dir():
            return _of_folder(path, DEEPEST)
        if not path.is_file():  # a FIFO might never end
            return None
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except (OSError, ValueError):
        return None
    return format_of(start) or (None if start else _of_name(path.name))


def format_of(start: bytes) -> str | None:
    """The format of a file, by its first bytes (at most START_BYTES); None if unknown."""
    if start.startswith(b"\x1f\x8b"):
        try:
            start = zlib.decompressobj(31).decompress(start, START_BYTES)
        except zlib.error:
            return None
        return found if (found := format_of(start)) in ("idx", "csv") else None
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"MATLAB "):
        return "mat"
    if start.startswith(b"\x93NUMPY"):
        return "npz"
    if start.startswith(b"PK\x03\x04"):
        return "npz" if _first_in_zip(start).endswith(b".npy") else None
    if len(start) >= 4 and start[:2] == b"\0\0" and start[2] in IDX_TYPES and 1 <= start[3] <= 4:
        return "idx"
    return "csv" if _is_table(start) else None


def _first_in_zip(start: bytes) -> bytes:
    """The name of the first file in a zip archive; its length is in bytes 26 and 27."""
    return start[30 : 30 + int.from_bytes(start[26:28], "little")]


def _is_table(start: bytes) -> bool:
    """True if the first line is text of three cells or more."""
    text = start.removeprefix(b"\xef\xbb\xbf")
    line = re.split(rb"\r\n|\r|\n", text.lstrip(b"\r\n"), maxsplit=1)[0].strip()
    if any(byte < 32 and byte not in b"\t\r\n" for byte in text) or line.lower().startswith((b"<", b"{", b"[")):
        return False
    try:
        text.decode()
    except UnicodeDecodeError as error:
        if error.start < START_BYTES - 8:  # else a character is cut by the end of `start`
            return False
    cells = [cell for cell in _SEPARATOR.split(line) if cell]
    has_comma = any(mark in line for mark in (b",", b";", b"\t"))
    return len(cells) >= 3 and (has_comma or all(re.fullmatch(rb"[-+.\deE]+", cell) for cell in cells[:-1]))


def _of_name(name: str) -> str | None:
    plain = name.lower().removesuffix(".gz")
    return next((kind for suffix, kind in BY_NAME.items() if plain.endswith(suffix)), None)


def _of_folder(folder: Path, depth: int) -> str | None:
    files, folders = _listed(folder)
    pictures = any(name.lower().endswith(PICTURE_ENDINGS) for name in files)
    tables = [name for name in files if name.lower().endswith(TABLES)]
    if pictures:
        return "folder" if tables or depth < DEEPEST else None
    for kind in ("parquet", "idx", "npz"):
        named = [name for name in files if _of_name(name) == kind]
        if any(sniff(folder / name) == kind for name in named[:4]):
            return kind
    if depth > 0:
        for name in folders[:MOST_FOLDERS]:
            found = _of_folder(folder / name, depth - 1)
            if found in ("folder", "parquet"):
                return found
    return "csv" if any(sniff(folder / name) == "csv" for name in tables[:4]) else None


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in `folder`, sorted, without hidden ones."""
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, MOST_ENTRIES):
                if entry.name.startswith("."):
                    continue
                try:
                    (folders if entry.is_dir() else files).append(entry.name)
                except OSError:  # a loop of symbolic links
                    continue
    except OSError:
        return [], []
    return sorted(files), sorted(folders)
