"""Parquet files of images, as image sets are stored on the Hugging Face hub: pictures, lists or columns of pixels."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcr.config.errors import DataError, one_line
from hcr.config.spelling import did_you_mean
from hcr.config.text import printable
from hcr.data.memory import check_fits, most_bytes
from hcr.data.raw import Array, Picture, RawPart, Side
from hcr.data.readers.arrowtypes import is_binary, is_list, is_number, is_struct, is_text
from hcr.data.readers.columns import LABELS, Layout, layout, shown
from hcr.data.readers.parquetcolumns import batches, check_named, names_of_classes, values_of
from hcr.data.readers.values import pick_labels, smallest

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

IMAGES = ("image", "img", "picture", "pixels")  # usual names of the column of images
PICTURE_BYTES = 300  # of Python's objects for a picture, besides its content
_INDEX = re.compile(r"__index_level_\d+__")  # columns of row numbers, as pandas saves them


@dataclass(frozen=True)
class Table:
    """One file.

    Attributes:
        part: its images.
        label: name of the column of labels.
        class_names: of the labels, if the file has them.
        notes: what was decided.
    """

    part: RawPart
    label: str
    class_names: tuple[str, ...] | None
    notes: tuple[str, ...]


def read_parquet(path: Path, *, image: str | None, label: str | None, group: str | None, side: Side) -> Table:
    """Read one parquet file.

    Args:
        image: column of pictures (binary, or a struct with `bytes`) or of lists of pixels; None: recognised, and if
            there is none, every column of numbers but label and group is one pixel.
        label: column of whole numbers or text; None: recognised.
        group: column of groups; None: none.
        side: of all images of the file.

    Raises:
        DataError: the file is damaged or too large, or has no such columns.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    source = printable(str(path))
    try:
        with ParquetFile(path, page_checksum_verification=True) as file:
            return _read(file, path.name, source, image=image, label=label, group=group, side=side)
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError, MemoryError) as error:
        # What pyarrow raises for a damaged file; a UnicodeDecodeError is a ValueError.
        raise DataError(
            f"{source}: no readable parquet file; it may be damaged or cut short ({one_line(error)})"
        ) from error


def _read(
    file: "ParquetFile", name: str, source: str, *, image: str | None, label: str | None, group: str | None, side: Side
) -> Table:
    schema = file.schema_arrow
    names = [field.name for field in schema if not _INDEX.fullmatch(field.name)]
    if len(set(names)) != len(names):
        raise DataError(f"{source}: expected columns with different names")
    if file.metadata.num_rows <= 0:
        raise DataError(f"{source}: expected a row per image, got none")
    column = _image_column(schema, names, image, label, group, source)
    if column is None:
        return _of_pixels(file, names, name, source, label, group, side)
    chosen = _label_column(schema, [n for n in names if n not in (column, group)], label, source)
    if group is not None:
        _known(group, names, "dataset.group", source)
    kind = schema.field(column).type
    wanted = [f"{column}.bytes" if is_struct(kind) else column, chosen, *([group] if group else [])]
    images: list[Any] = []
    rest: list[pa.RecordBatch] = []
    size_bytes, most, row = 0, most_bytes(), 0
    is_picture = is_struct(kind) or is_binary(kind)
    for batch in batches(file, wanted, source):
        values = batch.column(batch.schema.get_field_index(column))
        read = _pictures(values, name, row, source) if is_picture else [_lists(values, row, column, source)]
        size_bytes += sum(_size_of(each) for each in read)
        check_fits(size_bytes if is_picture else 2 * size_bytes, most, source)
        images += read
        rest.append(batch.select([chosen, *([group] if group else [])]))
        row += batch.num_rows
    others = _joined(rest)
    labels = values_of(others.column(0), f"{source}, column {shown(chosen)}")
    class_names = names_of_classes(schema, chosen, source)
    check_named(labels, class_names, f"{source}, column {shown(chosen)}")
    return Table(
        RawPart(
            images=images if is_picture else _joined_lists(images, column, source),
            labels=labels,
            groups=values_of(others.column(1), f"{source}, column {shown(group)}") if group else None,
            side=side,
            names=(f"{name}, column {shown(column)}", f"{name}, column {shown(chosen)}"),
        ),
        chosen,
        class_names,
        (),
    )


def _joined(batches: list["pa.RecordBatch"]) -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_batches(batches)


def _size_of(image: "Picture | Array") -> int:
    if isinstance(image, Picture):
        return len(image.content) + PICTURE_BYTES if isinstance(image.content, bytes) else PICTURE_BYTES
    return image.nbytes


def _known(name: str, names: list[str], key: str, source: str) -> str:
    if name not in names:
        listed = ", ".join(shown(other) for other in names[:8])
        raise DataError(f"{source}: no column {name!r} ({key}){did_you_mean(name, names)} (it has {listed})")
    return name


def _image_column(
    schema: "pa.Schema", names: list[str], image: str | None, label: str | None, group: str | None, source: str
) -> str | None:
    """The column of pictures or lists; None: each pixel has a column."""
    holds = {
        name: is_struct(kind) or is_binary(kind) or is_list(kind)
        for name in names
        for kind in (schema.field(name).type,)
    }
    if image is not None:
        _known(image, names, "dataset.image", source)
        if not holds[image]:
            raise DataError(
                f"{source}: expected column {shown(image)!r} (dataset.image) to have pictures or lists of pixels, got"
                f" {schema.field(image).type}"
            )
        return image
    found = [name for name in names if holds[name] and name not in (label, group)]
    for usual in IMAGES:
        for name in found:
            if name.lower() == usual:
                return name
    if len(found) > 1:
        listed = ", ".join(shown(name) for name in found[:8])
        raise DataError(f"{source}: expected one column of images, got {listed}; set dataset.image to one of them")
    return found[0] if found else None


def _label_column(schema: "pa.Schema", names: list[str], label: str | None, source: str) -> str:
    if label is not None:
        _known(label, names, "dataset.label", source)
        return label
    for usual in (*LABELS, "labels"):
        for name in names:
            if name.lower() == usual:
                return name
    found = [name for name in names if is_text(schema.field(name).type) or is_number(schema.field(name).type)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(shown(name) for name in found[:8]) or "none"
    raise DataError(f"{source}: expected one column of labels, got {listed}; set dataset.label to its name")


def _pictures(values: "pa.Array", name: str, row: int, source: str) -> list[Picture]:
    import pyarrow as pa

    contents = values.field("bytes") if pa.types.is_struct(values.type) else values
    found = []
    for at, (content, whole) in enumerate(zip(contents, values, strict=True), start=row + 1):
        data = content.as_py() if whole.is_valid else None
        if not data:
            raise DataError(
                f"{source}: row {at:,}: expected a picture, got none (a picture in a file of its own is not read)"
            )
        found.append(Picture(content=data, name=f"row {at} of {printable(name)}"))
    return found


def _lists(values: "pa.Array", row: int, column: str, source: str) -> Array:
    """Lists of equal length, also of lists, as an array (rows, ...)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shape = [len(values)]
    while is_list(values.type):
        lengths = pc.list_value_length(values)
        if values.null_count or pc.min_max(lengths)["min"] != pc.min_max(lengths)["max"]:
            raise DataError(f"{source}, column {shown(column)}: expected images of equal size below row {row:,}")
        shape.append(lengths[0].as_py() if len(lengths) else 0)
        values = values.flatten()
    if values.null_count or not is_number(values.type) or 0 in shape:
        got = "an empty list" if 0 in shape else f"{values.type}{' with null' if values.null_count else ''}"
        raise DataError(f"{source}, column {shown(column)}: expected lists of numbers below row {row:,}, got {got}")
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    return smallest(values.to_numpy(zero_copy_only=False)).reshape(shape)


def _joined_lists(images: list[Array], column: str, source: str) -> Array:
    shapes = {image.shape[1:] for image in images}
    if len(shapes) > 1:
        raise DataError(f"{source}, column {shown(column)}: expected images of equal size, got {sorted(shapes)[:2]}")
    return smallest(np.concatenate(images))


def _of_pixels(
    file: "ParquetFile", names: list[str], name: str, source: str, label: str | None, group: str | None, side: Side
) -> Table:
    """A table with a column per pixel."""
    schema = file.schema_arrow
    if label is None:
        texts = [each for each in names if is_text(schema.field(each).type) and each != group]
        label = texts[0] if len(texts) == 1 else None
    found = layout(names, len(names), label, group, source)
    for column in found.pixels:
        if not is_number(schema.field(names[column]).type):
            kind = schema.field(names[column]).type
            raise DataError(
                f"{source}, column {found.name(column)}: expected numbers, one pixel per column, got {kind}"
            )
    pixels, others = _pixel_columns(file, found, source)
    values = {at: values_of(each, f"{source}, column {found.name(at)}") for at, each in others.items()}
    notes: tuple[str, ...] = ()
    if len(found.labels) == 2:
        pixels, found, notes = pick_labels(pixels, values, found, source)
    chosen = names[found.labels[0]]
    class_names = names_of_classes(schema, chosen, source)
    check_named(values[found.labels[0]], class_names, f"{source}, column {shown(chosen)}")
    return Table(
        RawPart(
            images=pixels,
            labels=values[found.labels[0]],
            groups=None if found.group is None else values[found.group],
            side=side,
            names=(f"{name}, pixels", f"{name}, column {shown(chosen)}"),
        ),
        chosen,
        class_names,
        (*found.notes, *notes),
    )


def _pixel_columns(file: "ParquetFile", found: Layout, source: str) -> tuple[Array, dict[int, "pa.ChunkedArray"]]:
    """Pixels (N, K), and the other columns that are wanted, by position."""
    import pyarrow as pa

    assert found.names is not None
    blocks: list[Array] = []
    size_bytes, most, row = 0, most_bytes(), 0
    for batch in batches(file, [found.names[at] for at in found.pixels], source, are_numbers=True):
        columns = [batch.column(batch.schema.get_field_index(found.names[at])) for at in found.pixels]
        for at, column in zip(found.pixels, columns, strict=True):
            if column.null_count:
                null = row + 1 + column.is_null().to_numpy(zero_copy_only=False).argmax()
                raise DataError(f"{source}: row {null:,}, column {found.name(at)}: expected a number, got null")
        numbers = [column.to_numpy(zero_copy_only=False) for column in columns]
        blocks.append(smallest(np.stack(numbers, axis=1)))
        size_bytes += blocks[-1].nbytes
        check_fits(2 * size_bytes, most, source)
        row += batch.num_rows
    apart = [*found.labels, *([] if found.group is None else [found.group])]
    others = pa.Table.from_batches(list(batches(file, [found.names[at] for at in apart], source)))
    return smallest(np.concatenate(blocks)), {at: others.column(found.names[at]) for at in apart}
