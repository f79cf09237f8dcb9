"""CSV files with one image a row: label and pixels, with or without a header, plain or .gz.

Blocks of some MB are parsed by pyarrow's reader, with the type of the columns declared: whole numbers of a byte, else
of eight, else fractions. What it refuses is looked for again row by row, to name line and column.
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hcr.config.errors import DataError, one_line
from hcr.config.text import printable
from hcr.data.memory import check_fits, most_bytes
from hcr.data.raw import Array, RawPart, Side
from hcr.data.readers.columns import Layout, is_header, is_number, layout, shown, was_made_unique
from hcr.data.readers.textblocks import Block, read_blocks
from hcr.data.readers.values import columns_of, pick_labels, smallest, text_values

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATORS = "\t;,"
BLANK = " "  # separator of a file whose columns are apart by blanks
SAMPLE_LINES = 5
KINDS = ("uint8", "int64", "float32")
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass
class _Parser:
    """What is known of a file's rows.

    Attributes:
        kind: the type of number that fits the pixels so far.
    """

    source: str
    separator: str
    layout: Layout
    kind: int = 0
    pixels: list[Array] = field(default_factory=list)
    texts: dict[int, list["pa.ChunkedArray"]] = field(default_factory=dict)
    size_bytes: int = 0


def read_csv(
    path: Path, *, label: str | None, group: str | None, side: Side = "train", like: Layout | None = None
) -> tuple[RawPart, Layout, tuple[str, ...]]:
    """One CSV file, with the layout of its columns and what was decided about them.

    Args:
        label: `first`, `last` or a column's name; None: recognised, see `hcr.data.readers.columns.layout`.
        group: name of the column of groups; None: none.
        side: of all images of the file.
        like: the layout of the training images, whose column of labels decides; its pixels must be as many.

    Raises:
        DataError: the file is no table of numbers; names line and column where possible.
    """
    source, most = printable(str(path)), most_bytes()
    blocks = read_blocks(path, most)
    first = next(blocks)
    parser, rest, notes = _open(first, source, label, group, like)
    for block in _chain(rest, blocks):
        _parse(parser, block)
        check_fits(2 * parser.size_bytes, most, source)  # twice while the blocks are joined
    if not parser.pixels or sum(map(len, parser.pixels)) == 0:
        raise DataError(f"{source}: expected a row of numbers per image, got only a header")
    pixels, values, used, more = _finished(parser)
    part = RawPart(
        images=pixels,
        labels=values[used.labels[0]],
        groups=None if used.group is None else values[used.group],
        side=side,
        names=(f"{path.name}, pixels", f"{path.name}, column {used.name(used.labels[0])}"),
    )
    return part, used, (*notes, *used.notes, *more)


def read_sides(
    files: dict[Side, Path], *, label: str | None, group: str | None
) -> tuple[tuple[RawPart, ...], tuple[str, ...]]:
    """CSV files of several sides, of which the training images' decides where labels are; and notes.

    Raises:
        DataError: as `read_csv`.
    """
    parts: list[RawPart] = []
    notes: list[str] = []
    like = None
    for side, path in files.items():
        part, used, said = read_csv(path, label=label, group=group, side=side, like=like)
        like = like or used
        parts.append(part)
        notes += said
    return tuple(parts), tuple(dict.fromkeys(notes))


def _chain(first: Block, others: Iterator[Block]) -> Iterator[Block]:
    yield first
    yield from others


def column_count(path: Path) -> int:
    """Number of columns of a CSV file, by its first row.

    Raises:
        DataError: the file has no first row.
    """
    source = printable(str(path))
    block = next(read_blocks(path, most_bytes()))
    return len(_first_row(block, separator_of(block.text), source)[0])


def separator_of(text: bytes) -> str:
    """The separator of columns: a tab, semicolon or comma that is in all of the first lines as often, else the most
    frequent one of the first line; else blanks."""
    lines = [
        re.sub(rb'"[^"]*"', b"", line) for line in text[: 1 << 20].splitlines()[: SAMPLE_LINES + 1] if line.strip()
    ]
    lines = lines[:-1] if len(lines) > 2 else lines  # the last may be cut
    if not lines:
        return ","
    for separator in SEPARATORS:
        counts = {line.count(separator.encode()) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return separator
    counted = Counter({separator: lines[0].count(separator.encode()) for separator in SEPARATORS})
    separator, count = counted.most_common(1)[0]
    return separator if count else BLANK if len(lines[0].split()) > 1 else ","


def _open(
    block: Block, source: str, label: str | None, group: str | None, like: Layout | None
) -> tuple[_Parser, Block, list[str]]:
    """The parser for a file, the rest of its first block below the header, and notes."""
    separator = separator_of(block.text)
    if separator == BLANK:
        block = _with_single_blanks(block)
    cells, end, lines = _first_row(block, separator, source)
    notes = []
    names: Sequence[str] | None = None
    if is_header(cells):
        names = cells
        block = replace(block, text=block.text[end:], line=block.line + lines)
        if was_made_unique(cells):
            notes.append(
                f"{source}: the first line is taken for names that were made of an image without a header, not for an"
                f" image: {','.join(shown(cell) for cell in cells[:4])},..."
            )
    if like is not None and label is None:
        label = _labels_as_in(like, names)
    found = layout(names, len(cells), label, group, source)
    if like is not None and len(found.pixels) != len(like.pixels):
        raise DataError(
            f"{source}: expected {len(like.pixels):,} columns of pixels, as in the training images, got"
            f" {len(found.pixels):,}"
        )
    return _Parser(source, separator, found), block, notes


def _labels_as_in(like: Layout, names: Sequence[str] | None) -> str:
    """The setting that finds the column of labels where another file has it."""
    column = like.labels[0]
    name = None if like.names is None else like.names[column]
    if name is not None and names is not None and name in names and not is_number(name):
        return name
    return "first" if column < min(like.pixels) else "last"


def _first_row(block: Block, separator: str, source: str) -> tuple[list[str], int, int]:
    """Cells of the first row that is not blank, the bytes up to its end, and its lines (a quoted name may have two)."""
    lines = _lines(block.text)
    reader = csv.reader((line.decode("utf-8", "surrogateescape") for line in lines), delimiter=separator)
    try:
        cells = next((row for row in reader if row), None)
    except csv.Error as error:
        raise DataError(f"{source}: line {block.line}: cannot be read as CSV ({one_line(error)})") from error
    if cells is None:
        raise DataError(f"{source}: expected rows of numbers, got only blank lines")
    return cells, sum(len(line) for line in lines[: reader.line_num]), reader.line_num


def _lines(text: bytes) -> list[bytes]:
    return text.splitlines(keepends=True)


def _with_single_blanks(block: Block) -> Block:
    lines = (BLANK.encode().join(line.split()) for line in block.text.splitlines())
    return replace(block, text=b"\n".join(lines) + b"\n")


def _parse(parser: _Parser, block: Block) -> None:
    """Parse a block and keep its pixels and texts."""
    import pyarrow as pa

    if parser.separator == BLANK:
        block = _with_single_blanks(block)
    if not block.text.strip():
        return
    table = None
    for kind in range(parser.kind, len(KINDS)):
        try:
            table = _table(parser, block, KINDS[kind])
        except (pa.ArrowException, UnicodeDecodeError) as error:
            refusal: Exception = error
            continue
        parser.kind = kind
        break
    if table is None:
        raise _what_is_wrong(parser, block, refusal) from refusal
    named = [f"f{column}" for column in parser.layout.pixels]
    pixels = None if any(table.column(name).null_count for name in named) else columns_of(table.select(named))
    if pixels is None or (pixels.dtype.kind == "f" and not bool(np.isfinite(pixels).all())):
        raise _what_is_wrong(parser, block, ValueError("a number is missing or not finite"))
    parser.pixels.append(smallest(pixels))
    parser.size_bytes += parser.pixels[-1].nbytes
    for column in _text_columns(parser.layout):
        texts = table.column(f"f{column}")
        parser.texts.setdefault(column, []).append(texts)
        parser.size_bytes += texts.nbytes


def _text_columns(found: Layout) -> tuple[int, ...]:
    return found.labels if found.group is None else (*found.labels, found.group)


def _table(parser: _Parser, block: Block, kind: str) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv as arrow

    found = parser.layout
    types = {f"f{column}": pa.type_for_alias(kind) for column in found.pixels}
    texts = {f"f{column}": pa.large_string() for column in _text_columns(found)}
    return arrow.read_csv(
        pa.BufferReader(block.text),
        read_options=arrow.ReadOptions(
            column_names=[f"f{column}" for column in range(found.count)], block_size=max(1 << 20, 2 * block.longest + 2)
        ),
        parse_options=arrow.ParseOptions(delimiter=parser.separator),
        convert_options=arrow.ConvertOptions(
            column_types=types | texts,
            include_columns=[*types, *texts],
            null_values=["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"],
            strings_can_be_null=False,
        ),
    )


def _what_is_wrong(parser: _Parser, block: Block, refusal: Exception) -> DataError:
    """The first row of a block that is not as the layout says, as an error."""
    found, source = parser.layout, parser.source
    texts = set(_text_columns(found))
    numbers = [column for column in found.pixels if column not in texts]
    reader = csv.reader(
        (line.decode("utf-8", "surrogateescape") for line in _lines(block.text)), delimiter=parser.separator
    )
    above = 0  # lines, for a row with an open quote ends far below
    try:
        for row in reader:
            where, above = f"{source}: line {block.line + above}", reader.line_num
            if not row:
                continue
            if len(row) != found.count:
                return DataError(f"{where}: expected {found.count:,} columns, got {len(row):,}{_quoted(row)}")
            for column in numbers:
                cell = row[column]
                if not (is_number(cell) and math.isfinite(float(cell)) and abs(float(cell)) <= LARGEST_FLOAT32):
                    got = f"{shown(cell)!r}" if cell.strip() else "an empty cell"
                    return DataError(f"{where}, column {found.name(column)}: expected a number, got {got}")
            for column in texts:
                if re.search("[\ud800-\udfff]", row[column]):
                    got = shown(row[column])
                    return DataError(f"{where}, column {found.name(column)}: expected text in UTF-8, got {got!r}")
    except csv.Error as error:
        refusal = error
    return DataError(f"{source}: line {block.line} or below: cannot be read as CSV ({one_line(refusal)})")


def _quoted(row: Sequence[str]) -> str:
    return "; a quotation mark is not closed" if any("\n" in cell for cell in row) else ""


def _finished(parser: _Parser) -> tuple[Array, dict[int, Array], Layout, tuple[str, ...]]:
    """Pixels of a whole file, its labels and groups by column, its layout with one column of labels, and notes."""
    import pyarrow as pa

    found, source = parser.layout, parser.source
    pixels = smallest(np.concatenate(parser.pixels) if len(parser.pixels) > 1 else parser.pixels[0])
    values = {}
    for column, tables in parser.texts.items():
        texts = pa.chunked_array([chunk for table in tables for chunk in table.chunks], pa.large_string())
        values[column] = text_values(texts, f"{source}, column {found.name(column)}")
    if len(found.labels) == 1:
        return pixels, values, found, ()
    pixels, found, notes = pick_labels(pixels, values, found, source)
    return pixels, values, found, notes
