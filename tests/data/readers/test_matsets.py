"""Data sets in MATLAB files: mldata's and EMNIST's, and that damage costs a line and no memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from damage import cut, flipped, memory, outcome, same

from hcr.config.errors import DataError
from hcr.data.formats.arrays import Arrays
from hcr.data.formats.mat import Mat
from hcr.data.raw import Raw
from hcr.data.readers.matsets import read_mat_set

MIB = 2**20
COUNTS = {"train": 20, "test": 10}
MAPPING = np.array([[1, 65, 97], [2, 66, 98], [3, 67, 99]], np.uint8)


def glyphs(side: str) -> np.ndarray:
    """Upright images of 5x5 pixels."""
    return np.random.default_rng(len(side)).integers(0, 256, (COUNTS[side], 5, 5), dtype=np.uint8)


def emnist(**changes: Any) -> dict[str, Any]:
    """EMNIST's structure: each image a row, column by column."""
    sides = {
        side: {
            "images": np.stack([glyph.reshape(25, order="F") for glyph in glyphs(side)]),
            "labels": (np.arange(count) % 3 + 1).astype(np.uint8)[:, np.newaxis],
            "writers": (np.arange(count) // 2 + 100.0)[:, np.newaxis],
        }
        for side, count in COUNTS.items()
    }
    fields = {**sides, "mapping": MAPPING} | changes
    return {"dataset": {name: value for name, value in fields.items() if value is not None}}


def without(side: str, field: str) -> dict[str, Any]:
    return {side: {name: value for name, value in emnist()["dataset"][side].items() if name != field}}


def write(folder: Path, variables: dict[str, Any], *, compressed: bool = True) -> Path:
    path = folder / "small.mat"
    scipy.io.savemat(path, variables, do_compression=compressed)
    return path


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as refused:
        Mat(name="m", format="mat", path=str(path), **settings).read(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("compressed", [True, False])
def test_emnist_has_its_images_upright_its_sides_its_writers_and_its_names(tmp_path: Path, compressed: bool) -> None:
    path = write(tmp_path, emnist(), compressed=compressed)
    raw = read_mat_set(path)
    assert [part.side for part in raw.parts] == ["train", "test"]
    for part in raw.parts:
        assert np.array_equal(part.images, glyphs(part.side))
        assert part.labels.tolist() == [n % 3 for n in range(COUNTS[part.side])]
        assert part.groups is not None
        assert part.groups.tolist() == [n // 2 + 100 for n in range(COUNTS[part.side])]
    assert raw.class_names == ("A", "B", "C")
    assert "were put upright" in raw.notes[0]
    assert same(Arrays(name="a", format="arrays", path=str(path)).read(path), raw)


def test_a_mapping_of_two_columns_in_another_order_names_the_labels(tmp_path: Path) -> None:
    raw = read_mat_set(write(tmp_path, emnist(mapping=np.array([[3, 99], [1, 48], [2, 66]]))))
    assert raw.class_names == ("0", "B", "c")


def test_without_mapping_labels_stay_and_without_test_there_is_no_test_side(tmp_path: Path) -> None:
    raw = read_mat_set(write(tmp_path, emnist(mapping=None, test=None)))
    (part,) = raw.parts
    assert (raw.class_names, part.side) == (None, "train")
    assert part.labels.tolist() == [n % 3 + 1 for n in range(20)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (without("train", "labels"), "but there is no `dataset.train.labels`; got "),
        (without("test", "images"), "but there is no `dataset.test.images`; got "),
        ({"train": None}, "but there is no `dataset.train.images`; got "),
        (without("test", "writers"), "expected `writers` in both `dataset.train` and `dataset.test`, or in neither"),
        ({"mapping": np.array([[1, 65], [2, 66]])}, "expected labels that are in the mapping, 1 to 2, got 3"),
        ({"mapping": np.array([[1, 65.5], [2, 66]])}, "expected `dataset.mapping` of whole numbers"),
        ({"mapping": np.array([[1, np.inf], [2, 66]])}, "expected `dataset.mapping` of whole numbers"),
        ({"mapping": np.array([[1, 7], [2, 66]])}, "expected a label and one or two character codes"),
        ({"mapping": "text"}, "expected `dataset.mapping` to be a table of numbers, got text"),
        (
            {"train": emnist()["dataset"]["train"] | {"images": np.zeros((20, 24), np.uint8)}},
            "expected `dataset.train.images` of one square image per row, got shape (20, 24)",
        ),
    ],
)
def test_a_structure_that_is_not_emnist_s_is_refused_in_its_terms(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    path = write(tmp_path, emnist(**changes))
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert told in message


def test_emnist_with_a_number_of_training_images_is_refused(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, emnist()), train_images=20)
    assert message.endswith("which has its own test images; set dataset.train_images=null")


def mldata(**changes: Any) -> dict[str, Any]:
    data = np.random.default_rng(0).integers(0, 256, (12, 40), dtype=np.uint8)  # an image a column, row by row
    return {"data": data, "label": np.tile([0.0, 1.0], 20)[np.newaxis]} | changes


@pytest.mark.parametrize("shape", [None, (4, 3, 1), (2, 2, 3)])
@pytest.mark.parametrize("image_a_row", [True, False])
def test_mldata_s_layout_is_read_row_by_row_and_split_where_declared(
    tmp_path: Path, image_a_row: bool, shape: tuple[int, ...] | None
) -> None:
    data = mldata()["data"]
    path = write(tmp_path, mldata(data=data.T if image_a_row else data))
    raw = read_mat_set(path, 30, shape)
    assert [(part.side, len(part.labels)) for part in raw.parts] == [("train", 30), ("test", 10)]
    expected = data.T if shape is None else data.T.reshape(40, *shape)
    assert np.array_equal(np.concatenate([np.asarray(part.images) for part in raw.parts]), expected)
    (whole,) = read_mat_set(path).parts
    assert whole.labels.tolist() == [0, 1] * 20
    assert raw.notes == ()


def test_one_hot_labels_keep_a_row_per_image(tmp_path: Path) -> None:
    (part,) = read_mat_set(write(tmp_path, mldata(label=np.eye(2)[[0, 1] * 20]))).parts
    assert part.labels.shape == (40, 2)


def test_as_many_images_as_pixels_are_read_by_column_and_that_is_said(tmp_path: Path) -> None:
    data = mldata()["data"][:, :12]
    raw = read_mat_set(write(tmp_path, {"data": data, "label": np.zeros((1, 12))}), image_shape=(4, 3, 1))
    assert np.array_equal(np.asarray(raw.parts[0].images).reshape(12, 12), data.T)
    assert raw.notes[0].endswith("each column was taken as an image")


@pytest.mark.parametrize(
    ("changes", "settings", "told"),
    [
        (
            {"data": np.zeros((13, 40))},
            {"image_shape": (4, 3, 1)},
            "expected `data` of 12 pixels (dataset.image_shape)",
        ),
        ({"data": np.zeros((12, 39))}, {}, "one row or column for each of 40 images (one per `label`), got (12, 39)"),
        ({}, {"train_images": 40}, "expected more than 40 images (dataset.train_images, and the test images), got 40"),
        ({"data": np.zeros((2, 6, 40))}, {}, "expected `data` to be a table of numbers, one image per row"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], settings: dict[str, Any], told: str
) -> None:
    assert told in refusal(write(tmp_path, mldata(**changes)), **settings)


def test_another_layout_is_refused_with_what_the_file_has(tmp_path: Path) -> None:
    path = write(tmp_path, {"X": np.zeros((32, 32, 3, 5), np.uint8), "y": np.zeros((5, 1)), "dataset": {"train": 1}})
    assert refusal(path) == (
        f"{path}: expected the arrays `data` and `label`, but there is no `data`; got `X` (32, 32, 3, 5) uint8,"
        " `y` (5, 1) double, `dataset` (1, 1) a structure;"
        " save them in MATLAB with save('x.mat', 'data', 'label', '-v7')"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "got an HDF5 file; save its arrays with np.savez"),
        (b"PK\x03\x04" + bytes(99), "got a zip archive; if it is a NumPy archive (.npz) use dataset=npz"),
        (b"\0\0\x08\x01" + bytes(99), "got labels in IDX format; use dataset=idx"),
    ],
)
def test_another_kind_of_file_is_told_by_its_kind(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "small.mat"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: expected a MATLAB v5 file, {told}")


@pytest.mark.parametrize("variables", [emnist(), mldata()], ids=["emnist", "mldata"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_cut_short_is_refused_by_its_path_at_every_length(
    tmp_path: Path, variables: dict[str, Any], compressed: bool
) -> None:
    path = write(tmp_path, variables, compressed=compressed)
    right = read_mat_set(path)
    with memory(4 * MIB):
        for where in cut(path):
            found = outcome(lambda: read_mat_set(path))
            # Only the padding after the last array may be missing.
            assert isinstance(found, str) or (not compressed and same(found, right)), where
            assert not isinstance(found, str) or found.startswith(f"{path}: "), where


@pytest.mark.parametrize("variables", [emnist(), mldata()], ids=["emnist", "mldata"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_flipped_bit_is_a_line_and_if_packed_never_changes_what_is_read(
    tmp_path: Path, variables: dict[str, Any], compressed: bool
) -> None:
    path = write(tmp_path, variables, compressed=compressed)
    right = read_mat_set(path)
    with memory(4 * MIB):
        for where in flipped(path):
            found = outcome(lambda: read_mat_set(path))
            assert isinstance(found, Raw | str), where
            assert isinstance(found, str) or not compressed or same(found, right), where
