"""MATLAB files: what SciPy writes is read to the bit; anything else than numbers, or more than declared, is refused."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from damage import memory

from hcr.data.readers.matfile import MatError, list_mat, read_mat

MOST = 2**20


def written(folder: Path, *, compressed: bool = False, **variables: Any) -> Path:
    path = folder / "file.mat"
    scipy.io.savemat(path, variables, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?"])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (1, 7), (0, 3), (2, 3, 4)], ids=str)
def test_every_kind_of_number_is_read_as_scipy_reads_it(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], compressed: bool
) -> None:
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    path = written(tmp_path, compressed=compressed, other=np.eye(3), data=values, text="hello", more={"a": 1})
    (found,) = read_mat(path, ("data", "absent"), MOST).values()
    theirs = scipy.io.loadmat(path)["data"]
    assert found.shape == theirs.shape
    assert np.array_equal(found, theirs)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("hello", "text"),
        ({"a": 1}, "a structure"),
        (np.array([1, "x"], dtype=object), "a cell array"),
        (scipy.sparse.eye(3).tocsc(), "a sparse matrix"),
        (np.array([[1j]]), "complex numbers"),
    ],
    ids=["text", "structure", "cells", "sparse", "complex"],
)
def test_what_is_no_table_of_numbers_is_named(tmp_path: Path, value: Any, told: str, compressed: bool) -> None:
    path = written(tmp_path, compressed=compressed, data=value)
    with pytest.raises(MatError, match=f"expected `data` to be a table of numbers, got {told}"):
        read_mat(path, ("data",), MOST)


def test_logical_is_bool_and_everything_a_file_has_is_listed(tmp_path: Path) -> None:
    for compressed in (False, True):
        path = written(
            tmp_path,
            compressed=compressed,
            data=np.eye(3) > 0,
            image=np.zeros((4, 3, 9), "u1"),
            cells=np.array([1, "x"], object),
        )
        assert read_mat(path, ("data",), MOST)["data"].dtype == bool
        assert list_mat(path, MOST) == {
            "data": "(3, 3) logical",
            "image": "(4, 3, 9) uint8",
            "cells": "(1, 2) a cell array",
        }


def test_a_file_larger_than_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file.mat"
    with path.open("wb") as file:
        file.write(b" " * 124 + b"\x00\x01IM")
        file.truncate(2**40)  # a hole: it takes no room on the disk
    with pytest.raises(MatError, match="expected a file that fits into memory, got one of 1,024 GiB"):
        read_mat(path, ("data",), MOST)


def test_a_file_of_a_big_endian_machine_is_read(tmp_path: Path) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    numbers = np.array([[1, 2, 3], [4, 5, 60_000]], ">u2")
    matrix = element(6, struct.pack(">II", 11, 0)) + element(5, struct.pack(">ii", 2, 3)) + element(1, b"data")
    matrix += element(4, numbers.tobytes(order="F"))
    path = tmp_path / "file.mat"
    path.write_bytes(b" " * 124 + b"\x01\x00MI" + element(14, matrix))
    assert read_mat(path, ("data",), MOST)["data"].tolist() == numbers.tolist()


def test_no_more_is_unpacked_than_a_variable_declares_and_memory_holds(tmp_path: Path) -> None:
    path = written(tmp_path, compressed=True, data=np.zeros((2**12, 2**12), np.uint8))
    assert path.stat().st_size < 50_000
    with pytest.raises(MatError, match=r"fits into memory, got a variable of 0\.0 GiB"):
        read_mat(path, ("data",), MOST)


@pytest.mark.parametrize("count", [2, 100])
@pytest.mark.parametrize("behind", [2**26, -4], ids=["a bomb behind", "no checksum"])
def test_what_is_packed_ends_with_its_variable_and_a_checksum(tmp_path: Path, count: int, behind: int) -> None:
    plain = written(tmp_path, data=np.ones((count, count), np.uint8)).read_bytes()
    packer = zlib.compressobj()
    packed = packer.compress(plain[128:]) + packer.compress(bytes(max(0, behind))) + packer.flush()
    packed = packed[:behind] if behind < 0 else packed
    path = tmp_path / "file.mat"
    path.write_bytes(plain[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with memory(4 * MOST), pytest.raises(MatError, match="longer than it declares, or cut short"):
        read_mat(path, ("data",), MOST)


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def appended(path: Path, matrix: bytes, *, compressed: bool) -> None:
    """Add a matrix, given as its elements, to a file."""
    whole = element(14, matrix)
    packed = zlib.compress(whole)
    path.write_bytes(path.read_bytes() + (struct.pack("<II", 15, len(packed)) + packed if compressed else whole))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_variable_that_has_no_dimensions_such_as_matlab_s_strings_does_not_spoil_the_others(
    tmp_path: Path, compressed: bool
) -> None:
    path = written(tmp_path, compressed=compressed, data=np.eye(3))
    flags = element(6, struct.pack("<II", 17, 0))  # an opaque object: flags, then its name
    appended(path, flags + element(1, b"s") + element(1, b"MCOS") + element(1, b"string"), compressed=compressed)
    assert np.array_equal(read_mat(path, ("data",), MOST)["data"], np.eye(3))
    assert list(list_mat(path, MOST)) == ["data"]


@pytest.mark.parametrize("shape", [(), (3,)])
def test_fewer_dimensions_than_matlab_has_are_damage(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = written(tmp_path, other=np.eye(3))
    sizes = element(5, struct.pack(f"<{len(shape)}i", *shape))
    numbers = element(9, np.zeros(shape).tobytes())
    appended(path, element(6, struct.pack("<II", 6, 0)) + sizes + element(1, b"label") + numbers, compressed=False)
    with pytest.raises(MatError, match="`label` has"):
        read_mat(path, ("label",), MOST)


NESTED = {"train": {"images": np.arange(6).reshape(2, 3), "name": "a"}, "mapping": np.eye(2), "none": np.zeros((0, 0))}


@pytest.mark.parametrize("compressed", [False, True])
def test_a_field_of_a_structure_is_read_by_its_path(tmp_path: Path, compressed: bool) -> None:
    path = written(tmp_path, compressed=compressed, other=np.eye(3), dataset=NESTED)
    names = ("dataset.train.images", "dataset.mapping", "dataset.none", "dataset.test.images", "other.train", "other")
    found = read_mat(path, names, MOST)
    assert {name: array.tolist() for name, array in found.items()} == {
        "dataset.train.images": [[0, 1, 2], [3, 4, 5]],
        "dataset.mapping": np.eye(2).tolist(),
        "dataset.none": [],
        "other": np.eye(3).tolist(),
    }


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("dataset.train.name", "expected `dataset.train.name` to be a table of numbers, got text"),
        ("dataset.train", "expected `dataset.train` to be a table of numbers, got a structure"),
    ],
)
def test_a_field_that_is_no_table_of_numbers_is_named(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(MatError, match=told):
        read_mat(written(tmp_path, dataset=NESTED), (name,), MOST)


def test_a_list_of_structures_has_no_field(tmp_path: Path) -> None:
    path = written(tmp_path, dataset=[{"train": 1}, {"train": 2}])
    assert read_mat(path, ("dataset.train",), MOST) == {}


def test_a_variable_that_declares_more_than_its_packed_bytes_can_hold_is_refused_without_being_allocated(
    tmp_path: Path,
) -> None:
    matrix = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack("<ii", 3 * 2**20, 1024))
    matrix += element(1, b"data") + struct.pack("<II", 2, 3 * 2**30) + bytes(500)
    packed = zlib.compress(struct.pack("<II", 14, 3 * 2**30 + 100) + matrix)
    path = tmp_path / "file.mat"
    path.write_bytes(b" " * 124 + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed)
    with memory(MOST), pytest.raises(MatError, match=r"more than its .* packed ones can hold"):
        read_mat(path, ("data",), 2**34)


def test_a_changed_checksum_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path, compressed=True, data=np.eye(3))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(MatError, match="it does not unpack"):
        read_mat(path, ("data",), MOST)
