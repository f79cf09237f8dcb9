"""Kinds of pyarrow's types: pictures, lists, text, numbers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def is_struct(kind: "pa.DataType") -> bool:
    """True for a struct with `bytes`, such as a picture with its path."""
    import pyarrow as pa

    return bool(pa.types.is_struct(kind)) and any(kind.field(at).name == "bytes" for at in range(kind.num_fields))


def is_binary(kind: "pa.DataType") -> bool:
    """True for bytes."""
    import pyarrow as pa

    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def is_list(kind: "pa.DataType") -> bool:
    """True for lists of any or of a fixed length."""
    import pyarrow as pa

    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def is_text(kind: "pa.DataType") -> bool:
    """True for text, also if it is stored as numbers of the distinct texts."""
    import pyarrow as pa

    types = pa.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))


def is_number(kind: "pa.DataType") -> bool:
    """True for whole numbers, fractions and booleans."""
    import pyarrow as pa

    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))
