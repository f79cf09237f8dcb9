"""IDX files: every type and name is read, EMNIST upright and with its names; damage costs a line and no memory."""

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import cut, flipped, memory, outcome, same

from hcr.config.errors import DataError
from hcr.data.formats.idx import Idx
from hcr.data.raw import Raw
from hcr.data.readers.idxfile import DTYPES, find_idx_set, read_idx, read_idx_set

MIB = 2**20
CODES = {np.dtype(dtype).newbyteorder("=").str[1:]: code for code, dtype in DTYPES.items()}
GLYPH = np.arange(12, dtype=np.uint8).reshape(4, 3)


def encoded(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(path: Path, array: np.ndarray) -> Path:
    data = encoded(array)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 3), dtype=np.uint8)


def write_set(
    folder: Path,
    train: tuple[str, str] = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    test: tuple[str, str] | None = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    first_label: int = 0,
) -> Path:
    for seed, (count, names) in enumerate(((20, train), (10, test))):
        if names is not None:
            write(folder / names[0], images(count, seed))
            write(folder / names[1], (np.arange(count) % 5 + first_label).astype(np.uint8))
    return folder


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as refused:
        Idx(name="i", format="idx", path=str(path), **settings).read(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 4, 3), (2, 4, 3, 3), (0, 4, 3)], ids=str)
@pytest.mark.parametrize("dtype", sorted(CODES))
def test_every_type_and_number_of_dimensions_is_read(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], ending: str
) -> None:
    values = np.random.default_rng(0).integers(-100, 100, shape).astype(dtype)
    found = read_idx(write(tmp_path / f"x-idx3-ubyte{ending}", values))
    assert (found.shape, found.dtype) == (shape, np.dtype(dtype))
    assert np.array_equal(found, values)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("image_name", "label_name", "test"),
    [
        ("{}-images-idx3-ubyte", "{}-labels-idx1-ubyte", "t10k"),
        ("{}-images.idx3-ubyte", "{}-labels.idx1-ubyte", "t10k"),
        ("emnist-digits-{}-images-idx3-ubyte", "emnist-digits-{}-labels-idx1-ubyte", "test"),
        ("X_kannada_MNIST_{}-idx3-ubyte", "y_kannada_MNIST_{}-idx1-ubyte", "test"),
        ("qmnist-{}-images-idx3-ubyte", "qmnist-{}-labels-idx1-int", "test"),
    ],
)
def test_the_usual_names_are_found_in_a_folder_and_from_any_of_its_files(
    tmp_path: Path, image_name: str, label_name: str, test: str, ending: str
) -> None:
    pairs = [tuple(name.format(side) + ending for name in (image_name, label_name)) for side in ("train", test)]
    write_set(tmp_path, *pairs)
    (tmp_path / "readme.txt").write_text("train images")
    raw = read_idx_set(tmp_path, "false")
    assert [(part.side, part.names) for part in raw.parts] == [("train", pairs[0]), ("test", pairs[1])]
    for part, seed in zip(raw.parts, (0, 1), strict=True):
        assert np.array_equal(part.images, images(len(part.labels), seed))
        assert part.labels.tolist() == [n % 5 for n in range(len(part.labels))]
    for name in (*pairs[0], *pairs[1]):
        assert same(read_idx_set(tmp_path / name, "false"), raw)
    assert sorted(find_idx_set(tmp_path).files) == sorted(tmp_path / name for pair in pairs for name in pair)


def test_without_test_files_there_is_no_test_side(tmp_path: Path) -> None:
    raw = read_idx_set(write_set(tmp_path, test=None))
    assert [part.side for part in raw.parts] == ["train"]


def test_a_file_and_its_gz_are_one_and_the_named_one_is_read(tmp_path: Path) -> None:
    write_set(tmp_path)
    packed = write(tmp_path / "train-images-idx3-ubyte.gz", images(20, 7))
    assert np.array_equal(read_idx_set(tmp_path).parts[0].images, images(20, 0))
    assert np.array_equal(read_idx_set(packed).parts[0].images, images(20, 7))


def test_several_data_sets_in_a_folder_are_refused_with_the_files_to_choose_from(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_set(tmp_path, ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte"), None)
    assert refusal(tmp_path) == (
        f"{tmp_path}: expected one data set, got 2; set dataset.path to one of"
        " `emnist-letters-train-images-idx3-ubyte`, `train-images-idx3-ubyte` in it"
    )
    assert len(read_idx_set(tmp_path / "train-labels-idx1-ubyte").parts) == 2


@pytest.mark.parametrize(
    "gone",
    [
        ("train-labels-idx1-ubyte",),
        ("t10k-labels-idx1-ubyte",),
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ],
)
def test_a_missing_file_is_refused_with_those_that_are_there(tmp_path: Path, gone: tuple[str, ...]) -> None:
    write_set(tmp_path)
    for name in gone:
        (tmp_path / name).unlink()
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path}: expected train-images-idx3-ubyte and train-labels-idx1-ubyte")
    assert all(f"`{file.name}`" in message for file in tmp_path.iterdir())


def test_an_empty_folder_a_loop_and_a_pipe_are_refused_and_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").symlink_to("train-images-idx3-ubyte")
    os.mkfifo(tmp_path / "train-labels-idx1-ubyte")
    assert refusal(tmp_path).endswith("got no IDX file")


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_emnist_is_put_upright_and_that_is_said(tmp_path: Path, ending: str) -> None:
    names = tuple(f"emnist-digits-train-{what}-ubyte{ending}" for what in ("images-idx3", "labels-idx1"))
    write(tmp_path / names[0], np.stack([GLYPH.T, GLYPH.T]))
    write(tmp_path / names[1], np.array([0, 1], np.uint8))
    raw = read_idx_set(tmp_path)
    assert raw.parts[0].images[1].tolist() == GLYPH.tolist()
    assert raw.notes == (f"{names[0]}: its images are stored column by column (as EMNIST's are) and were put upright",)
    as_stored = read_idx_set(tmp_path, "false")
    assert (as_stored.parts[0].images[1].tolist(), as_stored.notes) == (GLYPH.T.tolist(), ())


def test_other_files_are_turned_only_if_that_is_declared(tmp_path: Path) -> None:
    write_set(tmp_path)
    assert read_idx_set(tmp_path).notes == ()
    turned = Idx(name="i", format="idx", path=str(tmp_path), transposed=True).read(tmp_path)
    assert np.array_equal(turned.parts[0].images, images(20, 0).swapaxes(1, 2))
    assert "(dataset.transposed: true)" in turned.notes[0]
    write(tmp_path / "train-images-idx3-ubyte", images(20, 0).reshape(20, 12))
    assert refusal(tmp_path, transposed=True).endswith("got an array of shape (20, 12); set dataset.transposed=false")


LETTERS = tuple(f"emnist-letters-train-{what}-ubyte" for what in ("images-idx3", "labels-idx1"))


def write_letters(folder: Path, mapping: str) -> Path:
    write_set(folder, LETTERS, None, first_label=1)  # labels 1 to 5
    (folder / "emnist-letters-mapping.txt").write_text(mapping)
    return folder


def test_emnist_s_mapping_names_the_classes_and_labels_count_from_0(tmp_path: Path) -> None:
    folder = write_letters(tmp_path, "".join(f"{n} {64 + n} {96 + n}\n" for n in range(1, 27)))
    raw = read_idx_set(folder)
    assert raw.class_names == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert raw.parts[0].labels.tolist() == [n % 5 for n in range(20)]
    assert folder / "emnist-letters-mapping.txt" in Idx(name="i", format="idx", path=str(folder)).sources(folder)


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ("1 65\n2 66\n", "expected labels that are in the mapping, 1 to 2, got 3, 4, 5"),
        ("1 65\n1 66\n", "expected 2 or more labels and characters that differ"),
        ("1 65\n2 65\n", "expected 2 or more labels and characters that differ"),
        ("", "expected 2 or more labels and characters that differ"),
        ("1\n2\n", "expected a label and one or two character codes in each row"),
        ("1 10\n2 66\n", "expected a label and one or two character codes in each row"),
        ("1 A\n2 B\n", "expected lines of a label and one or two character codes"),
        ("1 " + "9" * 5000, "expected lines of a label and one or two character codes"),
        ("1 65\n" * 20_000, "expected lines of a label and one or two character codes"),
    ],
)
def test_a_mapping_that_is_none_is_refused(tmp_path: Path, mapping: str, told: str) -> None:
    assert told in refusal(write_letters(tmp_path, mapping))


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("which", ["images", "labels"])
def test_a_file_cut_short_is_refused_by_its_path_at_every_length(tmp_path: Path, which: str, ending: str) -> None:
    names = tuple(f"train-{what}-ubyte{ending}" for what in ("images-idx3", "labels-idx1"))
    write_set(tmp_path, names, None)
    path = tmp_path / names[which == "labels"]
    with memory(4 * MIB):
        for where in cut(path):
            told = outcome(lambda: read_idx_set(tmp_path))
            assert isinstance(told, str), where
            assert told.startswith(f"{path}: "), where
    assert isinstance(outcome(lambda: read_idx_set(tmp_path)), Raw)


def test_a_flipped_bit_is_a_line_or_a_data_set_and_takes_no_memory(tmp_path: Path) -> None:
    write_set(tmp_path, test=None)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        with memory(4 * MIB):
            for where in flipped(tmp_path / name):
                assert isinstance(outcome(lambda: read_idx_set(tmp_path)), Raw | str), where


def test_a_flipped_bit_in_gzip_never_changes_what_is_read(tmp_path: Path) -> None:
    names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    right = read_idx_set(write_set(tmp_path, names, None))
    for name in names:
        with memory(4 * MIB):
            for where in flipped(tmp_path / name):
                found = outcome(lambda: read_idx_set(tmp_path))
                assert isinstance(found, str) or same(found, right), where


HUGE = struct.pack(">HBB3I", 0, 8, 3, 3 * 2**20, 32, 32)  # 3 GiB


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("", HUGE + bytes(1000)),
        (".gz", gzip.compress(HUGE + bytes(1000))),
        (".gz", gzip.compress(HUGE + os.urandom(1000))),
        (".gz", gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 20, 4, 3) + bytes(64 * MIB))),
        ("", struct.pack(">HBB3I", 0, 8, 3, 20, 4, 3) + bytes(64 * MIB)),
        ("", struct.pack(">HBB4I", 0, 0x0E, 4, *[2**32 - 1] * 4)),
    ],
    ids=["declared", "declared, gz", "declared, random", "gzip bomb", "longer", "more than 64 bits"],
)
def test_what_is_declared_or_packed_beyond_the_file_is_refused_without_being_allocated(
    tmp_path: Path, ending: str, content: bytes
) -> None:
    names = tuple(f"train-{what}-ubyte{ending}" for what in ("images-idx3", "labels-idx1"))
    path = write_set(tmp_path, names, None) / names[0]
    path.write_bytes(content)
    with memory(4 * MIB):
        told = outcome(lambda: read_idx_set(tmp_path))
    assert isinstance(told, str)
    assert told.startswith(f"{path}: ")
    assert "declare" in told or "numbers are" in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "got one PNG picture; use dataset=folder"),
        (b"label,pixel0,pixel1,pixel2\n1,0,0,0\n", "got a text file; if it is a table, use dataset=csv"),
        (b"<!DOCTYPE html><html>404</html>", "got a web page; download the file itself"),
        (b"", "got an empty file"),
        (b"\0\0\x07\x03" + bytes(99), "expected an IDX file of 1 to 4 dimensions"),
        (b"\0\0\x08\x05" + bytes(99), "expected an IDX file of 1 to 4 dimensions"),
        (encoded(np.zeros(20, np.uint8)), "expected images here, and their labels in"),
    ],
)
def test_another_kind_of_file_under_the_name_is_told_by_its_kind(tmp_path: Path, content: bytes, told: str) -> None:
    write_set(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    assert told in refusal(tmp_path)


def test_a_file_of_another_name_is_refused_with_the_names_that_are_known(tmp_path: Path) -> None:
    path = write(tmp_path / "digits.bin", images(3, 0))
    assert refusal(path).startswith(f"{path}: expected a file named like train-images-idx3-ubyte and train-labels")
    path.write_bytes(b"PAR1" + bytes(99))
    assert refusal(path).endswith("; got a Parquet file; use dataset=parquet")
