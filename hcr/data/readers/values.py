"""Columns of a table as arrays: pixels of the smallest type, labels as numbers or text."""

from typing import TYPE_CHECKING

import numpy as np

from hcr.config.errors import DataError
from hcr.data.raw import Array
from hcr.data.readers.columns import Layout, shown

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST_TEXT = 200  # characters of a label or a group
MISSING = ("", "nan", "na", "n/a", "null", "none")
WHOLE = (np.uint8, np.int16, np.uint16, np.int32)


def smallest(numbers: Array) -> Array:
    """Whole numbers in the first type of WHOLE that has them all, fractions as float32."""
    if numbers.dtype.kind == "f":
        return numbers if numbers.dtype == np.float32 else numbers.astype(np.float32)
    if numbers.size == 0 or numbers.dtype.kind not in "iu":
        return numbers
    low, high = int(numbers.min()), int(numbers.max())
    for kind in WHOLE:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return numbers.astype(kind, copy=False)
    return numbers


def columns_of(table: "pa.Table") -> Array:
    """A table of numbers of one type as an array (rows, columns); none is null."""
    if table.num_rows == 0:
        return np.empty((0, table.num_columns), np.uint8)
    batches = table.to_batches()
    return np.concatenate([batch.to_tensor().to_numpy() for batch in batches])


def text_values(texts: "pa.ChunkedArray", where: str, *, maybe_numbers: bool = True) -> Array:
    """Text as numbers if all of it is numbers, else as it is.

    Args:
        texts: large_string, without null.
        where: for messages: file and column.
        maybe_numbers: False: keep numbers as text, too.

    Returns:
        (N,) int64, float64 or str.

    Raises:
        DataError: a cell is empty, or missing among numbers, or too long.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    distinct = pc.unique(texts)
    plain = pc.utf8_trim_whitespace(distinct)
    longest = pc.max(pc.utf8_length(plain)).as_py() or 0
    if longest > LONGEST_TEXT:
        raise DataError(f"{where}: expected at most {LONGEST_TEXT} characters in a cell, got {longest:,}")
    is_missing = pc.is_in(pc.utf8_lower(plain), pa.array(MISSING, pa.large_string()))
    rest = plain.filter(pc.invert(is_missing))
    missing = plain.filter(is_missing).to_pylist()
    numbers = _as_numbers(rest) if maybe_numbers else None
    if "" in missing or (missing and len(rest) > 0 and numbers is not None):
        row = pc.index(pc.utf8_trim_whitespace(texts), missing[0] if "" not in missing else "").as_py() + 1
        got = "an empty cell" if "" in missing else repr(shown(missing[0]))
        raise DataError(f"{where}: expected a value in every row, got {got} in row {row:,} of the images")
    codes = pc.index_in(texts, distinct).to_numpy()
    if numbers is not None and not missing:
        return np.asarray(numbers[codes])
    return np.asarray(np.array(plain.to_pylist(), dtype=str)[codes])


def _as_numbers(texts: "pa.Array") -> Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    for kind in (pa.int64(), pa.float64()):
        try:
            numbers: Array = pc.cast(texts, kind).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            continue
        return numbers if bool(np.isfinite(numbers).all()) else None
    return None


def pick_labels(
    pixels: Array, values: dict[int, Array], found: Layout, source: str
) -> tuple[Array, Layout, tuple[str, ...]]:
    """Take the first or the last column for labels, and the other one for pixels.

    The column that is text has the labels. If none is, the first has, unless it has fractions, or more than half of it
    is one value, as in a border pixel, and neither is true of the last.

    Args:
        pixels: (N, K) of the columns between them.
        values: (N,) of each of the two, by position.

    Returns:
        The pixels (N, K + 1), the layout with one column of labels, and a note.

    Raises:
        DataError: both columns are text.
    """
    first, last = found.labels
    is_text = [values[column].dtype.kind == "U" for column in (first, last)]
    if all(is_text):
        raise DataError(
            f"{source}: expected one column of text, the labels, got two: {found.name(first)} and {found.name(last)};"
            " set dataset.label=first, last or a column's name, and dataset.group for the other"
        )
    is_last = is_text[1] or (not is_text[0] and not _could_be_labels(values[first]) and _could_be_labels(values[last]))
    chosen, other = (last, first) if is_last else (first, last)
    column = smallest(values[other])[:, np.newaxis]
    pixels = np.concatenate([column, pixels] if is_last else [pixels, column], axis=1)
    if pixels.dtype.kind == "f" and pixels.dtype != np.float32:
        pixels = pixels.astype(np.float32)
    order = (other, *found.pixels) if is_last else (*found.pixels, other)
    note = f"the {'last' if is_last else 'first'} column is taken for labels (dataset.label names another)"
    return pixels, Layout(found.count, found.names, (chosen,), found.group, order, found.notes), (note,)


def _could_be_labels(numbers: Array) -> bool:
    if numbers.dtype.kind == "f" and not bool((numbers == np.floor(numbers)).all()):
        return False
    _, counts = np.unique(numbers, return_counts=True)
    return int(counts.max()) * 2 <= len(numbers)
