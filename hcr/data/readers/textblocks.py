"""Text files, plain or .gz, in blocks of whole lines; a bomb, binary data and another encoding are refused."""

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from hcr.config.errors import DataError, one_line
from hcr.config.text import printable
from hcr.data.files import what_it_is
from hcr.data.memory import check_fits
from hcr.data.sniffing import START_BYTES, format_of

BLOCK_BYTES = 16 << 20
LONGEST_LINE = 10_000_000  # bytes
GZIP = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # not in text, of which a form feed may be a part


@dataclass(frozen=True)
class Block:
    """Whole lines of a file.

    Attributes:
        text: the lines, without a byte order mark.
        line: number of the first of them in the file, from 1.
        longest: bytes of the longest line.
    """

    text: bytes
    line: int
    longest: int


def read_blocks(path: Path, most: int) -> Iterator[Block]:
    """The lines of a text file in blocks of about BLOCK_BYTES.

    Args:
        most: largest size of the text in bytes; a compressed file is read no further.

    Raises:
        DataError: the file is empty, binary, in another encoding than UTF-8, cut short, damaged or too large.
    """
    source = printable(str(path))
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
            file.seek(0)
            if start.startswith(GZIP):
                with gzip.open(file, "rb") as unpacked:
                    yield from _blocks(cast("IO[bytes]", unpacked), most, source)
            else:
                yield from _blocks(file, most, source)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{source}: the .gz file is cut short or damaged ({one_line(error)})") from error
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or one_line(error)})") from error


def _blocks(file: IO[bytes], most: int, source: str) -> Iterator[Block]:
    rest, line, size_bytes, end = b"", 1, 0, b""
    while chunk := file.read(BLOCK_BYTES):
        if size_bytes == 0:
            _check_start(chunk[:START_BYTES], source)
            chunk = chunk.removeprefix(BOM)
            end = b"\n" if b"\n" in chunk or b"\r" not in chunk else b"\r"
        size_bytes += len(chunk)
        check_fits(size_bytes, most, source)
        if b"\0" in chunk:
            at = line + (rest + chunk[: chunk.index(b"\0")]).count(end)
            raise DataError(f"{source}: line {at}: expected text, got a zero byte; the file is binary or damaged")
        head, found, tail = chunk.rpartition(end)
        if found:
            block, num_lines = _block(rest + head + found, end, line, source)
            yield block
            line, rest = line + num_lines, tail
        else:
            rest += chunk
        if len(rest) > LONGEST_LINE:
            raise _too_long(line, source)
    if size_bytes == 0 or (line == 1 and not rest.strip() and not end):
        raise DataError(f"{source}: expected rows of numbers, got an empty file")
    if rest:
        yield _block(rest, end, line, source)[0]


def _block(text: bytes, end: bytes, line: int, source: str) -> tuple[Block, int]:
    """The block of `text`, and how many line ends it has."""
    lengths = list(map(len, text.split(end)))
    longest = max(lengths)
    if longest > LONGEST_LINE:
        raise _too_long(line + lengths.index(longest), source)
    return Block(text, line, longest), len(lengths) - 1


def _too_long(line: int, source: str) -> DataError:
    return DataError(f"{source}: line {line}: expected at most {LONGEST_LINE:,} bytes in a line, got more")


def _check_start(start: bytes, source: str) -> None:
    """Refuse what is not UTF-8 text, as far as the first bytes tell."""
    other = format_of(start)
    if other is not None and other != "csv":
        raise DataError(f"{source}: expected CSV text, plain or .gz, got a file that dataset={other} reads")
    if start[:2] == b"PK":
        raise DataError(f"{source}: expected CSV text, plain or .gz, got a zip archive; unpack it first (unzip)")
    if not _CONTROL.search(start):
        return
    zeros = max(start[0::2].count(0), start[1::2].count(0))
    other = what_it_is(start)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or (other is None and zeros * 5 > len(start) * 2):
        raise DataError(f"{source}: expected text in UTF-8, got UTF-16; save it again as UTF-8")
    raise DataError(f"{source}: expected CSV text, plain or .gz, got {other or 'binary data'}")
