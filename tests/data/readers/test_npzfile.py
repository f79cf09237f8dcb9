"""NumPy archives: what may be in them, that they equal the MATLAB file, and what is refused."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from hcr.config.errors import ConfigError, DataError
from hcr.data.formats.arrays import Arrays
from hcr.data.loading import load_dataset
from hcr.data.splits.official import Official
from hcr.data.splitting import load_splits
from hcr.gate.compose import compose

OFFICIAL = Official(name="official", validation=0.2)


def config(file: Path, *, official: bool = True, **changes: Any) -> Arrays:
    values: dict[str, Any] = {
        "name": "small",
        "format": "arrays",
        "path": str(file),
        "has_official_test": official,
        "train_images": 60 if official else None,
        "image_shape": (4, 3, 1),
        "num_classes": 3,
        "class_names": ("a", "b", "c"),
    }
    return Arrays(**(values | changes))


def images(count: int = 90) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 4, 3), dtype=np.uint8), np.arange(count) % 3


def with_test(**changes: Any) -> dict[str, Any]:
    x, y = images()
    arrays = {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:]} | changes
    return {name: array for name, array in arrays.items() if array is not None}


def one_set(**changes: Any) -> dict[str, Any]:
    x, y = images()
    return {name: array for name, array in ({"x": x, "y": y} | changes).items() if array is not None}


def write(folder: Path, arrays: dict[str, Any], name: str = "small.npz") -> Path:
    with (folder / name).open("wb") as file:
        np.savez_compressed(file, **arrays)
    return folder / name


def write_mat(folder: Path, name: str = "small.mat") -> Path:
    x, y = images()
    with (folder / name).open("wb") as file:
        scipy.io.savemat(file, {"data": x.reshape(90, 12).T, "label": y.astype(float)[np.newaxis]})
    return folder / name


def shuffled(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(x))
    return x[order], y[order]


def test_a_file_is_read_once_in_a_process_and_again_when_it_has_changed(tmp_path: Path) -> None:
    cfg = config(write(tmp_path, with_test()))
    first = load_dataset(cfg)
    assert load_dataset(cfg) is first
    x, _ = images()
    write(tmp_path, with_test(x_train=255 - x[:60]))
    assert load_dataset(cfg).digest != first.digest
    assert load_dataset(config(tmp_path / "small.npz", class_names=("d", "e", "f"))) is not first


def test_a_mat_and_an_npz_in_another_order_are_one_data_set_and_one_split(tmp_path: Path) -> None:
    x, y = images()
    (x_train, y_train), (x_test, y_test) = shuffled(x[:60], y[:60], 1), shuffled(x[60:], y[60:], 2)
    arrays = {"x_train": x_train[..., np.newaxis], "y_train": y_train.astype("u1")}
    npz = write(tmp_path, arrays | {"x_test": x_test[..., np.newaxis], "y_test": y_test.astype("u1")})
    first = load_splits(config(write_mat(tmp_path)), OFFICIAL, 0)
    second = load_splits(config(npz), OFFICIAL, 0)
    assert (first.dataset_digest, first.split_digest) == (second.dataset_digest, second.split_digest)
    assert np.array_equal(first.test.images, second.test.images)
    assert len(first.test) == 30


@pytest.mark.slow
def test_the_real_mnist_is_one_data_set_whichever_of_its_two_files_it_comes_in(mnist_dir: Path, tmp_path: Path) -> None:
    mat = scipy.io.loadmat(mnist_dir / "mnist-original.mat", variable_names=["data", "label"])
    x, y = mat["data"].T.reshape(-1, 28, 28), mat["label"].ravel().astype(np.uint8)
    (x_train, y_train), (x_test, y_test) = shuffled(x[:60000], y[:60000], 1), shuffled(x[60000:], y[60000:], 2)
    np.savez(tmp_path / "mnist.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    found = []
    for path in (mnist_dir / "mnist-original.mat", tmp_path / "mnist.npz"):
        cfg = compose(["dataset=mnist", f"dataset.path={path}"])
        found.append(load_splits(cfg.dataset, cfg.split, seed=0))
    assert found[0].dataset_digest == found[1].dataset_digest
    assert found[0].split_digest == found[1].split_digest
    assert (found[0].duplicates_val, found[0].duplicates_test) == (0, 0)


def test_the_content_of_a_file_decides_how_it_is_read_not_its_name(tmp_path: Path) -> None:
    digests = {
        load_dataset(config(path)).digest
        for path in (
            write(tmp_path, with_test()),
            write(tmp_path, with_test(), name="liar.mat"),
            write_mat(tmp_path),
            write_mat(tmp_path, name="liar.npz"),
        )
    }
    assert len(digests) == 1


def test_one_set_has_no_test_of_its_own_and_may_have_groups(tmp_path: Path) -> None:
    plain = load_dataset(config(write(tmp_path, one_set()), official=False))
    assert (plain.is_test, plain.groups) == (None, None)
    group = np.arange(90) // 5
    data = load_dataset(config(write(tmp_path, one_set(group=group)), official=False, has_groups=True))
    assert data.groups is not None
    x, y = images()
    written = sorted((i.tobytes(), int(n), int(g)) for i, n, g in zip(x, y, group, strict=True))
    read = sorted((i.tobytes(), int(n), int(g)) for i, n, g in zip(data.images, data.labels, data.groups, strict=True))
    assert read == written
    assert data.digest != plain.digest


def test_groups_may_be_names(tmp_path: Path) -> None:
    numbers = np.arange(90) // 5
    names = np.array([f"writer {number:02d}" for number in numbers])
    digests = {
        load_dataset(config(write(tmp_path, one_set(group=group)), official=False, has_groups=True)).digest
        for group in (numbers, numbers + 7, names)
    }
    assert len(digests) == 1


def message(path: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as refused:
        load_dataset(config(path, **changes))
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])
def test_an_archive_cut_short_is_refused_by_its_path(tmp_path: Path, share: float) -> None:
    path = write(tmp_path, with_test())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "not a readable NumPy .npz file; it may be cut short" in message(path)


def test_an_archive_with_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, with_test())
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    assert "not a readable NumPy .npz file; it may be cut short" in message(path)


def test_any_other_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train", "text")
        archive.writestr("readme.txt", "text")
    assert "group; got `x_train` (no array), `readme.txt` (no array); save them with" in message(path)


class Trap:
    """What an unpickled archive could do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("trap-was-sprung"),))


def test_python_objects_are_refused_and_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, with_test(y_train=np.array([Trap()], dtype=object)))
    assert "got Python objects in `y_train` (which are not unpickled)" in message(path)
    assert not Path("trap-was-sprung").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"y_test": None},
            "or x y and optionally group; got `x_train` (60, 4, 3) uint8, `y_train` (60,) int64, `x_test` (30, 4, 3)",
        ),
        ({"y_train": np.zeros(59)}, "got 59 labels (`y_train`) for 60 images"),
        ({"y_test": np.zeros((30, 3))}, "expected one label per image, got `y_test` of shape (30, 3) for 30 images"),
        ({"x_train": np.zeros((60, 11), "u1")}, "got `x_train` of shape (60, 11); save them as (N, height, width,"),
        ({"x_train": np.float64(3)}, "got `x_train` of shape ()"),
        ({"x_test": np.zeros((30, 3, 4), "u1")}, "got `x_test` of shape (30, 3, 4); if height and width are swapped"),
        ({"x_test": np.full((30, 4, 3), "x")}, "expected pixels that are numbers"),
        ({"x_test": np.zeros((30, 4, 3), "c8")}, "expected `x_test` to be an array of numbers, got complex64"),
        ({"x_test": np.full((30, 4, 3), 0.5)}, "expected pixels from 0 to 255, got fractions from 0.5 to 0.5"),
        ({"y_test": np.full(30, 3)}, "expected labels from 0 to 2, got 0 to 3; dataset.num_classes is 3"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_their_terms(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    assert told in message(write(tmp_path, with_test(**changes)))


def test_one_digest_whatever_type_scale_and_form_the_same_data_set_is_saved_in(tmp_path: Path) -> None:
    x, y = images()
    x.flat[:2] = 0, 255
    ink = x > 127
    grey = {
        load_dataset(config(write(tmp_path, arrays), official=False)).digest
        for arrays in (
            one_set(x=x),
            one_set(x=x.astype(">u2"), y=y[:, np.newaxis]),
            one_set(x=x.reshape(90, 12), y=np.eye(3)[y]),
            one_set(x=x[:, np.newaxis] / 255, y=np.array(["a", "b", "c"])[y]),
        )
    }
    black_and_white = {
        load_dataset(config(write(tmp_path, one_set(x=x)), official=False)).digest
        for x in (ink, ink.astype("u1"), ink.astype("i1"), ink.astype("f4"), np.where(ink, 255, 0))
    }
    assert (len(grey), len(black_and_white)) == (1, 1)


def test_the_digest_of_a_data_set_stays_what_it_was(tmp_path: Path) -> None:
    data = load_dataset(config(write(tmp_path, one_set()), official=False))
    assert data.digest == "a89d1b7a3c26a46235146c0e11310b717de5b9f3df0741945c891bd899f4b6d2"
    digits = load_dataset(compose([]).dataset)
    assert digits.digest == "1e4ccadb94b357939da9e571cfca53640ad5f13fa8c852cfb3f86841c82233ab"


def test_a_header_that_declares_another_size_than_the_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    for shape in ((10**12, 4, 3), (89, 4, 3), (91, 4, 3), (-90, 4, 3)):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("x", "y"):
                archive.writestr(f"{name}.npy", header.getvalue() + bytes(90 * 4 * 3))
        assert f"cut short or changed: `x` of shape {shape} has 1,080 bytes" in message(path, official=False)


def test_names_in_an_archive_are_shown_but_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ["a\nb\x1b[31m", "n" * 500, *(f"array{i}" for i in range(20))]:
            archive.writestr(f"{name}.npy", b"none")
    told = message(path)
    assert r"got `a\nb\x1b[31m` (no array), `" + "n" * 40 + "…` (no array), `array0` (no array)" in told
    assert "`array5` (no array) and 14 more; save them with" in told


@pytest.mark.parametrize("group", [np.zeros(89, int), np.zeros((90, 2), int), np.full(90, 0.5)])
def test_groups_that_are_none_are_refused(tmp_path: Path, group: np.ndarray) -> None:
    path = write(tmp_path, one_set(group=group))
    assert "expected one group per image, whole numbers or text" in message(path, official=False, has_groups=True)


@pytest.mark.parametrize(
    ("arrays", "declared", "told"),
    [
        (with_test(), {"official": False}, "expected no official test images (dataset.has_official_test: false"),
        (one_set(), {"official": True}, "expected official test images (dataset.has_official_test: true"),
        (
            one_set(),
            {"official": False, "has_groups": True},
            "expected groups (dataset.has_groups: true), but the data has none; set dataset.has_groups=false",
        ),
        (
            one_set(group=np.zeros(90, int)),
            {"official": False, "has_groups": False},
            "expected no groups (dataset.has_groups: false), but the data has groups; set dataset.has_groups=true",
        ),
    ],
)
def test_a_file_has_what_its_config_declares_or_is_refused(
    tmp_path: Path, arrays: dict[str, Any], declared: dict[str, Any], told: str
) -> None:
    assert told in message(write(tmp_path, arrays), **declared)


WEB = "dataset.url: expected an address that starts with https:// or http://, without a user or a password, got"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"url": "https://a.org/x.npz"}, "dataset.sha256: expected both dataset.url and dataset.sha256"),
        ({"sha256": "0" * 64}, "dataset.url: expected both dataset.url and dataset.sha256"),
        ({"url": "https://me:hunter22@a.org/x.npz", "sha256": "0" * 64}, f"{WEB} 'https://***@a.org/x.npz'"),
        ({"url": "https://hunter22@a.org/x.npz", "sha256": "0" * 64}, f"{WEB} 'https://***@a.org/x.npz'"),
        ({"url": "https://me:hunter/22@a.org/x.npz", "sha256": "0" * 64}, f"{WEB} 'https://***@a.org/x.npz'"),
        ({"url": "http://[::1/x.npz", "sha256": "0" * 64}, "dataset.url: expected an address"),
        ({"url": "http://host:port/x.npz", "sha256": "0" * 64}, "dataset.url: expected an address"),
        ({"url": "file:///etc/passwd", "sha256": "0" * 64}, "dataset.url: expected an address that starts with https"),
        ({"url": "https://a.org/x.npz", "sha256": "ABC"}, "dataset.sha256: expected 64 hexadecimal digits"),
        ({"url": "https://a.org/x.npz", "sha256": "0" * 64}, "dataset.files: expected a file name"),
        ({"path": None}, "dataset.path: expected the path of a file or folder"),
        ({"files": ("../x.npz",)}, "dataset.files[0]: expected relative paths of files"),
        ({"has_official_test": False}, "dataset.train_images: expected null with has_official_test=false"),
        ({"limit": 2}, "dataset.limit: expected 3 or more, one image per class, or null, got 2"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_the_config(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(tmp_path, **changes)
    assert str(refused.value).startswith(told)
