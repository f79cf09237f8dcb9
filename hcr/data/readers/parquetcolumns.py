"""Columns of a parquet file: batches of rows, labels and groups as arrays, the names of classes."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hcr.config.errors import DataError
from hcr.data.memory import check_fits, most_bytes
from hcr.data.raw import Array
from hcr.data.readers.arrowtypes import is_number, is_text
from hcr.data.readers.values import text_values

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

BATCH_BYTES = 256 << 20
MOST_ROWS_AT_ONCE = 4096


def batches(
    file: "ParquetFile", columns: list[str], source: str, *, are_numbers: bool = False
) -> Iterator["pa.RecordBatch"]:
    """Batches of rows: as few rows as keep a batch small even if all rows had the largest value of their row group.

    Sizes are those of whole row groups: asking for a column's ends the process if its statistics are damaged.

    Args:
        are_numbers: a value has at most 8 bytes.
    """
    meta = file.metadata
    sizes = [meta.row_group(at).total_byte_size for at in range(meta.num_row_groups)]
    check_fits(max(sizes, default=0), most_bytes(), source)
    row_bytes = 8 * len(columns) if are_numbers else max(1, *sizes)
    at_once = max(1, min(MOST_ROWS_AT_ONCE, BATCH_BYTES // row_bytes))
    num_rows = 0
    for batch in file.iter_batches(batch_size=at_once, columns=columns):
        num_rows += batch.num_rows
        yield batch
    if num_rows != meta.num_rows:
        raise DataError(f"{source}: expected {meta.num_rows:,} rows, as the file declares, got {num_rows:,}")


def values_of(column: "pa.ChunkedArray", where: str) -> Array:
    """Labels or groups, as whole numbers, fractions or text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        row = pc.index(column.is_null(), True).as_py() + 1
        raise DataError(f"{where}: expected a value in every row, got null in row {row:,} of the images")
    if is_text(column.type):
        return text_values(column.cast(pa.large_string()), where, maybe_numbers=False)
    if not is_number(column.type):
        raise DataError(f"{where}: expected numbers or text, got {column.type}")
    numbers: Array = column.to_numpy()
    return numbers.astype(np.uint8) if numbers.dtype == bool else numbers


def names_of_classes(schema: "pa.Schema", label: str, source: str) -> tuple[str, ...] | None:
    """Names that the schema's metadata has for whole numbers from 0: info.features.LABEL.names."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return None
    try:
        found = json.loads(text)["info"]["features"][label].get("names")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        return None
    if len(set(found)) != len(found):
        raise DataError(f"{source}: expected class names that differ, got one twice in the file's metadata")
    return tuple(found)


def check_named(labels: Array, class_names: tuple[str, ...] | None, where: str) -> None:
    """Refuse labels that are no index of `class_names`."""
    if class_names is None:
        return
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where}: expected whole numbers, as the file names their classes, got {labels.dtype}")
    wrong = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{where}: expected 0 to {len(class_names) - 1}, got {labels[row]} in row {row + 1:,} of the images"
        )
