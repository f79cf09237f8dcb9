"""Archives of unknown origin, read without trusting them: only plain files with plain names inside, and bounded sizes.

Nothing is extracted by `tarfile`, whose filters were bypassed more than once: members are read as bytes, and whoever
reads them writes the files.
"""

import gzip
import io
import tarfile
import unicodedata
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from hcr.config.errors import TrackingError, one_line

BLOCK = 512  # bytes of a header in a tar file; contents are padded to it
PIECE = 1 << 20  # bytes read at a time
LONGEST_NAME = 255  # bytes, of the format without extensions
MOST_SOURCES, MOST_SOURCE_BYTES = 20_000, 256 << 20


class Member(NamedTuple):
    """A file in an archive: its contents come in `pieces`, which must be read before the next member."""

    name: str
    size_bytes: int
    pieces: Iterator[bytes]


def check_names(names: Collection[str], where: str) -> None:
    """Refuse names that could be a file elsewhere, or the same file twice, on any file system.

    Raises:
        TrackingError: a name is absolute, leads out of its folder, or is empty, too long or not printable; or two names
            differ in case or Unicode form only, or one is a folder of another.
    """
    seen: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        is_plain = name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(parts)
        if not is_plain or len(name.encode(errors="replace")) > LONGEST_NAME:
            raise TrackingError(f"{where}: expected the name of a file inside it, got {name!r}")
        other = seen.setdefault(_folded(name), name)
        if other is not name:
            raise TrackingError(f"{where}: expected each file once, got {other!r} and {name!r}")
    for name in names:
        for folder in PurePosixPath(name).parents:
            if _folded(str(folder)) in seen:
                raise TrackingError(f"{where}: expected files, got {str(folder)!r} as a file and as a folder")


def read_members(stream: BinaryIO, where: str) -> Iterator[Member]:
    """Yield the files of a gzipped tar in their order, without looking ahead.

    Raises:
        TrackingError: it is damaged, or a member is a link, a device, a folder or an extended header.
    """
    with _whole(where), gzip.GzipFile(fileobj=stream) as unpacked:
        while (block := _exactly(unpacked, BLOCK)) != bytes(BLOCK):
            entry = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            if entry.type != tarfile.REGTYPE or entry.size < 0:
                raise TrackingError(f"{where}: {entry.name!r}: expected a file, got a link or something else")
            pieces = _pieces(unpacked, entry.size, where)
            yield Member(entry.name, entry.size, pieces)
            for _ in pieces:  # what the caller did not read
                pass
            _exactly(unpacked, -entry.size % BLOCK)


def read_sources(path: Path) -> dict[str, bytes]:
    """The files of an archive of sources by name; nothing is written.

    Raises:
        TrackingError: it is damaged or too large, or a name or a member is not that of a plain file.
    """
    try:
        with gzip.open(path, "rb") as stream:
            unpacked = stream.read(MOST_SOURCE_BYTES + 1)
        if len(unpacked) > MOST_SOURCE_BYTES:
            raise TrackingError(f"{path}: expected at most {MOST_SOURCE_BYTES >> 20} MiB of sources, got more")
        found: dict[str, bytes] = {}
        # In memory, so that a header cannot ask for more of it than the archive has.
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as tar:
            for entry in tar:
                if not entry.isreg() or entry.issparse():
                    raise TrackingError(f"{path}: {entry.name!r}: expected a file, got a link or something else")
                file = tar.extractfile(entry)
                assert file is not None
                if entry.name in found or len(found) == MOST_SOURCES:
                    raise TrackingError(f"{path}: expected at most {MOST_SOURCES:,} files, each once")
                found[entry.name] = file.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise TrackingError(f"{path}: expected an archive of sources ({one_line(error)})") from error
    check_names(found, str(path))
    return found


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files whose names were checked into a folder that nobody else writes."""
    for name, contents in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents)


def _exactly(stream: "gzip.GzipFile", size: int) -> bytes:
    found = stream.read(size)
    if len(found) != size:
        raise EOFError("it ends too early")
    return found


def _pieces(stream: "gzip.GzipFile", size: int, where: str) -> Iterator[bytes]:
    while size:
        with _whole(where):
            piece = _exactly(stream, min(size, PIECE))
        size -= len(piece)
        yield piece


@contextmanager
def _whole(where: str) -> Iterator[None]:
    """Turn the errors of a damaged archive into one line."""
    try:
        yield
    except (OSError, EOFError, zlib.error, tarfile.TarError, UnicodeError) as error:
        raise TrackingError(f"{where}: expected a whole archive ({one_line(error)})") from error


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
