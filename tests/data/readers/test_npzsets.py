"""NumPy's files: the names that people give arrays and files, and that damage costs a line and no memory."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import cut, flipped, memory, outcome, same

from hcr.config.errors import DataError
from hcr.data.formats.npz import Npz
from hcr.data.raw import Raw
from hcr.data.readers import npzfile
from hcr.data.readers.npzsets import read_npz_set

MIB = 2**20
X = np.random.default_rng(0).integers(0, 256, (30, 4, 3), dtype=np.uint8)
Y = np.arange(30) % 3
SIDES = {"train": slice(0, 20), "val": slice(20, 24), "test": slice(24, 30)}


def archive(folder: Path, name: str = "small.npz", **arrays: Any) -> Path:
    np.savez_compressed(folder / name, **arrays)
    return folder / name


def sided(images: str, labels: str, *sides: str) -> dict[str, np.ndarray]:
    """Arrays by name; `{}` in a name is the side."""
    return {
        name.format(side): array[SIDES["test" if side == "Test" else side]]
        for side in sides
        for name, array in ((images, X), (labels, Y))
    }


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        Npz(name="n", format="npz", path=str(path)).read(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def sides(raw: Raw) -> list[str]:
    for part in raw.parts:
        at = SIDES[part.side] if len(raw.parts) > 1 else slice(None, len(part.labels))
        assert np.array_equal(part.images, X[at])
        assert np.array_equal(part.labels, Y[at])
    return [part.side for part in raw.parts]


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (sided("x_{}", "y_{}", "train", "test"), ["train", "test"]),
        (sided("{}_images", "{}_labels", "train", "val", "test"), ["train", "val", "test"]),
        (sided("X_{}", "Y_{}", "train", "test"), ["train", "test"]),
        (sided("{}X", "{}Y", "train", "test"), ["train", "test"]),
        (sided("{}_data", "{}_target", "train", "test"), ["train", "test"]),
        (sided("x_{}", "y_{}", "train"), ["train"]),
        ({"x": X, "y": Y}, ["train"]),
        ({"X": X, "y": Y}, ["train"]),
        ({"images": X, "labels": Y}, ["train"]),
        ({"Data": X, "Target": Y}, ["train"]),
        ({"digits_images": X, "digits_labels": Y}, ["train"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_the_usual_names_of_arrays_are_read(tmp_path: Path, arrays: dict[str, Any], expected: list[str]) -> None:
    raw = read_npz_set(archive(tmp_path, **arrays))
    assert sides(raw) == expected
    assert raw.notes == ()
    assert same(read_npz_set(tmp_path), raw)  # the only archive of a folder


@pytest.mark.parametrize("name", ["group", "groups", "Writers"])
def test_groups_are_read_with_a_data_set(tmp_path: Path, name: str) -> None:
    (part,) = read_npz_set(archive(tmp_path, x=X, y=Y, **{name: Y + 7})).parts
    assert part.groups is not None
    assert part.groups.tolist() == (Y + 7).tolist()


def test_groups_of_one_side_only_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, group_train=Y[:20], **sided("x_{}", "y_{}", "train", "test"))
    assert refusal(path) == f"{path}: expected groups for all sides or none, got groups for train"


def test_a_clear_word_comes_before_data_and_what_is_left_is_said(tmp_path: Path) -> None:
    raw = read_npz_set(archive(tmp_path, images=X, data=X.reshape(30, 12), target=Y, DESCR="text"))
    assert sides(raw) == ["train"]
    assert raw.notes == (f"{tmp_path / 'small.npz'}: not used: `data`, `DESCR`",)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"X": X, "x": X, "y": Y}, "expected one array with the images of train, got `X`, `x`; keep one"),
        ({"x": X, "images": X, "y": Y}, "expected one array with the images of train, got `images`, `x`; keep one"),
        ({"a_x": X, "a_y": Y, "b_x": X, "b_y": Y}, "got `a_x` (30, 4, 3) uint8, `a_y` (30,) int64, `b_x`"),
        (sided("x_{}", "y_{}", "test"), "expected the arrays x_train y_train x_test y_test, or x y and optionally"),
        ({"x": X, "z": Y}, "got `x` (30, 4, 3) uint8, `z` (30,) int64; save them"),
        ({"arr_0": X, "arr_1": Y}, "got `arr_0` (30, 4, 3) uint8, `arr_1` (30,) int64; save them with np.savez"),
        ({"arr_0": X}, "got `arr_0` (30, 4, 3) uint8; save them with np.savez('x.npz', x=images, y=labels)"),
        ({}, "got no array; save them"),
        ({"x": np.float64(3), "y": Y}, "expected one entry per image, got `x` of shape ()"),
        ({"x": X, "y": np.int64(3)}, "expected one entry per image, got `y` of shape ()"),
        ({"x": X, "y": np.array([object()] * 30)}, "got Python objects in `y` (which are not unpickled)"),
        ({"x": X.astype("c8"), "y": Y}, "expected `x` to be an array of numbers, got complex64"),
    ],
)
def test_an_archive_without_one_clear_data_set_is_refused_with_what_it_has(
    tmp_path: Path, arrays: dict[str, Any], told: str
) -> None:
    assert told in refusal(archive(tmp_path, **arrays))


def write_files(folder: Path, ending: str, arrays: dict[str, np.ndarray]) -> list[Path]:
    for name, array in arrays.items():
        if ending == ".npy":
            np.save(folder / f"{name}.npy", array)
        else:
            np.savez_compressed(folder / f"{name}.npz", array)  # arr_0
    return sorted(folder / f"{name}{ending}" for name in arrays)


@pytest.mark.parametrize("ending", [".npz", ".npy"])
@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (sided("kmnist-{}-imgs", "kmnist-{}-labels", "train", "test"), ["train", "test"]),
        (sided("X_{}", "y_{}", "train", "test"), ["train", "test"]),
        ({"x": X, "y": Y}, ["train"]),
        ({"images": X, "labels": Y}, ["train"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_data_set_of_a_file_for_each_array_is_found_in_its_folder_and_from_any_file(
    tmp_path: Path, arrays: dict[str, Any], expected: list[str], ending: str
) -> None:
    files = write_files(tmp_path, ending, arrays)
    (tmp_path / "kmnist_classmap.csv").write_text("index,codepoint,char\n")
    raw = read_npz_set(tmp_path)
    assert sides(raw) == expected
    for path in files:
        assert same(read_npz_set(path), raw)
        assert Npz(name="n", format="npz", path=str(path)).sources(path) == files


def test_several_data_sets_in_a_folder_are_refused_with_the_files_to_choose_from(tmp_path: Path) -> None:
    for name in ("k49", "kmnist"):
        write_files(tmp_path, ".npz", sided(f"{name}-{{}}-imgs", f"{name}-{{}}-labels", "train", "test"))
    archive(tmp_path, "mnist.npz", x=X, y=Y)
    (tmp_path / "loop.npz").symlink_to("loop.npz")
    assert refusal(tmp_path) == (
        f"{tmp_path}: expected one data set, got 3; set dataset.path to one of"
        " `k49-train-imgs.npz`, `kmnist-train-imgs.npz`, `mnist.npz` in it"
    )
    assert sides(read_npz_set(tmp_path / "k49-test-labels.npz")) == ["train", "test"]


@pytest.mark.parametrize("ending", [".npz", ".npy"])
def test_a_file_of_one_array_without_its_other_half_is_refused_with_what_is_beside_it(
    tmp_path: Path, ending: str
) -> None:
    (path, _) = write_files(tmp_path, ending, {"kmnist-train-imgs": X, "other": Y})
    assert refusal(path) == (
        f"{path}: expected files of images and of labels side by side, named like images{ending} and labels{ending},"
        f" or x{ending} and y{ending}, with a prefix and train or test if you like;"
        f" got `kmnist-train-imgs{ending}`, `other{ending}`"
    )


def test_a_folder_without_numpy_s_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    assert refusal(tmp_path).endswith("expected a NumPy archive (.npz), or images.npy and labels.npy; got none")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\0\0\x08\x03" + bytes(99), "got images in IDX format; use dataset=idx"),
        (b"MATLAB 5.0 MAT-file".ljust(126) + b"IM", "got a MATLAB v5 file; use dataset=mat"),
        (b"\x80\x04\x95" + bytes(99), "got a Python pickle, which could run code and is not read"),
        (b"", "got an empty file"),
    ],
)
def test_another_kind_of_file_is_told_by_its_kind(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "small.npz"
    path.write_bytes(content)
    assert refusal(path) == f"{path}: expected a NumPy archive (.npz) or array (.npy), {told}"


class Trap:
    """What an unpickled file could do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("trap-was-sprung"),))


def test_an_npy_of_python_objects_is_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("y.npy", np.array([Trap()] * 30, dtype=object), allow_pickle=True)
    assert "got Python objects in `y.npy` (which are not unpickled)" in refusal(tmp_path)
    assert not Path("trap-was-sprung").exists()


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_npy_is_read_from_the_disk_as_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Any
) -> None:
    monkeypatch.setattr(npzfile, "MAPPED_BYTES", 1000)
    x = np.resize(X, (20_000, 12))
    np.save(tmp_path / "x.npy", np.array(x, order=order))
    np.save(tmp_path / "y.npy", np.resize(Y, 20_000))
    with memory(MIB // 8):
        (part,) = read_npz_set(tmp_path).parts
    assert isinstance(part.images, np.memmap)
    assert np.array_equal(part.images, x)


def test_text_that_consists_of_no_characters_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", np.full(30, 0x110000, np.uint32).view("U1"))
    assert "the text in `y.npy` has numbers that are no characters" in refusal(tmp_path)


@pytest.fixture(params=["stored", "deflated", "npy"])
def good(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """What is read, and its file to damage."""
    if request.param == "npy":
        write_files(tmp_path, ".npy", {"x": X, "y": Y})
        return tmp_path, tmp_path / "x.npy"
    save = np.savez if request.param == "stored" else np.savez_compressed
    save(tmp_path / "small.npz", x=X, y=Y)
    return tmp_path / "small.npz", tmp_path / "small.npz"


def test_a_file_cut_short_is_refused_by_its_path_at_every_length(good: tuple[Path, Path]) -> None:
    path, file = good
    with memory(4 * MIB):
        for where in cut(file):
            told = outcome(lambda: read_npz_set(path))
            assert isinstance(told, str), where
            assert told.startswith(f"{file}: "), where


def test_a_flipped_bit_is_a_line_and_in_an_archive_never_changes_what_is_read(good: tuple[Path, Path]) -> None:
    path, file = good
    right = read_npz_set(path)
    with memory(4 * MIB):
        for where in flipped(file):
            found = outcome(lambda: read_npz_set(path))
            assert isinstance(found, str) or file.suffix == ".npy" or same(found, right), where


def header(shape: tuple[int, ...]) -> bytes:
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return start.getvalue()


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_gigabytes_that_only_a_header_declares_are_refused_without_being_allocated(tmp_path: Path, ending: str) -> None:
    if ending == ".npy":
        path = tmp_path
        (tmp_path / "x.npy").write_bytes(header((3 * 2**20, 32, 32)) + bytes(1000))
        np.save(tmp_path / "y.npy", Y)
    else:
        path = tmp_path / "small.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("x.npy", header((3 * 2**20, 32, 32)) + bytes(1000))
            file.writestr("y.npy", header((30,)) + bytes(30))
        # The directory and the entry declare as much as the header does.
        size, declared = (struct.pack("<I", n) for n in (len(header((3 * 2**20, 32, 32))) + 1000, 3 * 2**30 + 128))
        assert path.read_bytes().count(size) == 2
        path.write_bytes(path.read_bytes().replace(size, declared))
    with memory(MIB):
        told = outcome(lambda: read_npz_set(path))
    assert isinstance(told, str)
    assert "cut short or changed: `x" in told


def test_a_zip_bomb_is_refused_by_what_it_would_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcr.data.readers.npzsets.most_bytes", lambda: 8 * MIB)
    path = archive(tmp_path, x=np.zeros((64, MIB), np.uint8), y=Y)
    assert path.stat().st_size < MIB
    with memory(MIB):
        told = outcome(lambda: read_npz_set(path))
    assert isinstance(told, str)
    assert "expected a data set that fits into memory" in told


def test_an_archive_packed_otherwise_than_numpy_does_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("x.npy", header((30, 12)) + bytes(360))
        file.writestr("y.npy", header((30,)) + bytes(30))
    assert "got `x` packed by another method (14)" in refusal(path)


def test_an_entry_that_only_looks_like_an_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x", "text")
        file.writestr("y", "text")
    assert "expected `x` to be an array, which has a name that ends with .npy" in refusal(path)
