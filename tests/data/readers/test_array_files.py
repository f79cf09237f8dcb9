"""Where images come from: MATLAB files good and damaged, the real MNIST, scikit-learn's digits."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from sklearn.datasets import load_digits

from hcr.config.errors import DataError
from hcr.data.files import find_file
from hcr.data.formats import DataFormat
from hcr.data.formats.arrays import Arrays
from hcr.data.loading import load_dataset
from hcr.data.splitting import load_splits
from hcr.gate.compose import compose

NUM_IMAGES, NUM_PIXELS = 40, 12
PIXELS_SHA256 = "7c10294c67b639de8f83465d100ca1aeef34d0f422dea714dc17b471eba6dd92"  # shared/data/README.md
PER_CLASS = {
    False: [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    True: [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


def config(path: Path | None = None, train_images: int | None = 30, **changes: Any) -> Arrays:
    values: dict[str, Any] = {"has_official_test": train_images is not None} | changes
    return Arrays(
        name="small",
        format="arrays",
        path=None if path is None else str(path),
        files=("small.mat", "small.npz"),
        train_images=train_images,
        image_shape=(4, 3, 1),
        num_classes=2,
        class_names=("a", "b"),
        **values,
    )


def contents() -> dict[str, np.ndarray]:
    """`data` with an image a column, and `label`, as mldata.org had them."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (NUM_PIXELS, NUM_IMAGES), dtype=np.uint8)
    return {"data": data, "label": np.tile([0.0, 1.0], NUM_IMAGES // 2)[np.newaxis]}


def write(folder: Path, *, compressed: bool = True, name: str = "small.mat", **changes: Any) -> Path:
    path = folder / name
    values = {key: value for key, value in (contents() | changes).items() if value is not None}
    scipy.io.savemat(path, values, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("image_a_row", [True, False])
@pytest.mark.parametrize("label_a_row", [True, False])
def test_every_layout_of_a_mat_file_is_the_same_data_set(
    tmp_path: Path, compressed: bool, image_a_row: bool, label_a_row: bool
) -> None:
    values = contents()
    usual = load_dataset(config(write(tmp_path, name="usual.mat")))
    data = values["data"].T if image_a_row else values["data"]
    label = values["label"].T if label_a_row else values["label"]
    other = load_dataset(config(write(tmp_path, compressed=compressed, data=data, label=label)))
    assert other.digest == usual.digest
    assert (other.images == usual.images).all()


def test_an_image_of_a_mat_file_is_read_row_by_row_and_keeps_its_label(tmp_path: Path) -> None:
    values = contents()
    data = load_dataset(config(write(tmp_path)))
    read = {(image.tobytes(), int(label)) for image, label in zip(data.images, data.labels, strict=True)}
    columns = {(column.tobytes(), int(n)) for column, n in zip(values["data"].T, values["label"][0], strict=True)}
    assert read == columns
    assert data.images.shape == (NUM_IMAGES, 4, 3, 1)


def test_the_first_train_images_of_the_file_are_for_training_and_the_others_for_test(tmp_path: Path) -> None:
    data = load_dataset(config(write(tmp_path)))
    assert data.is_test is not None
    test = {image.tobytes() for image in data.images[data.is_test]}
    assert test == {column.tobytes() for column in contents()["data"].T[30:]}
    assert load_dataset(config(write(tmp_path), train_images=None)).is_test is None


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])
def test_a_file_cut_short_is_refused_by_its_path(tmp_path: Path, share: float, compressed: bool) -> None:
    path = write(tmp_path, compressed=compressed)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError) as refused:
        load_dataset(config(path))
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", [b"no mat file", b"<html>404</html>" * 100, b"\x00" * 4096, b"\x89HDF\r\n\x1a\n" * 99])
def test_what_is_no_mat_file_is_refused_by_its_path(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "small.mat"
    path.write_bytes(text)
    with pytest.raises(DataError) as refused:
        load_dataset(config(path))
    assert str(refused.value).startswith(f"{path}: ")


def with_value(name: str, value: float) -> np.ndarray:
    array = contents()[name].astype(float)
    array.flat[3] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, "there is no `data`"),
        ({"label": None}, "there is no `label`"),
        ({"data": with_value("data", np.nan)}, "expected pixels from 0 to 255, got NaN"),
        ({"data": with_value("data", 256)}, "expected pixels from 0 to 255, got 0 to 256"),
        ({"data": with_value("data", -1)}, "expected pixels from 0 to 255, got -1 to"),
        ({"label": with_value("label", np.nan)}, "expected labels from 0 to 1, got NaN"),
        ({"label": with_value("label", 0.5)}, "expected whole labels from 0 to 1, got fractions"),
        ({"label": with_value("label", 2)}, "expected labels from 0 to 1, got 0 to 2"),
        (
            {"data": np.zeros((13, NUM_IMAGES))},
            "12 pixels (dataset.image_shape) x 40 images (one per `label`), got (13, 40)",
        ),
        (
            {"label": np.zeros((1, 39))},
            "12 pixels (dataset.image_shape) x 39 images (one per `label`), got (12, 40)",
        ),
        ({"data": np.zeros((2, 6, NUM_IMAGES))}, "expected `data` to be a table of numbers"),
        ({"data": "text"}, "expected `data` to be a table of numbers"),
        ({"data": np.zeros((12, 0)), "label": np.zeros((1, 0))}, "got 0"),
        ({"data": np.zeros((12, 30)), "label": np.zeros((1, 30))}, "expected more than 30 images"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_in_its_terms(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(DataError) as refused:
        load_dataset(config(path))
    assert str(refused.value).startswith(f"{path}: ")
    assert message in str(refused.value)


def test_a_fraction_among_pixels_up_to_255_is_rounded_and_told(tmp_path: Path) -> None:
    path = write(tmp_path, data=with_value("data", 100.4))
    data = load_dataset(config(path))
    assert f"{path}: its pixels are rounded to whole numbers from 0 to 255" in data.notes
    assert data.digest == load_dataset(config(write(tmp_path, data=with_value("data", 100)))).digest


def test_a_good_file_of_other_variables_is_not_called_damaged_and_they_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path, data=None, label=None, X=np.zeros((3, 12), "u1"), dataset={"train": 1})
    with pytest.raises(DataError) as refused:
        load_dataset(config(path))
    assert str(refused.value) == (
        f"{path}: expected the arrays `data` and `label`, but there is no `data`; got `X` (3, 12) uint8,"
        " `dataset` (1, 1) a structure; save them in MATLAB with save('x.mat', 'data', 'label', '-v7')"
    )
    path = write(tmp_path, label=np.array(["a", "b"] * 20, dtype=object))
    with pytest.raises(DataError) as refused:
        load_dataset(config(path))
    assert str(refused.value) == f"{path}: expected `label` to be a table of numbers, got a cell array"


def test_a_logical_mat_file_is_black_and_white(tmp_path: Path) -> None:
    ink = contents()["data"] > 127
    digests = {load_dataset(config(write(tmp_path, data=data))).digest for data in (ink, ink * 255.0)}
    assert len(digests) == 1


def test_a_file_without_images_is_refused_where_nothing_is_for_test(tmp_path: Path) -> None:
    path = write(tmp_path, data=np.zeros((12, 0)), label=np.zeros((1, 0)))
    with pytest.raises(DataError, match="expected images, got none"):
        load_dataset(config(path, train_images=None))


def test_a_class_that_training_lacks_is_named(tmp_path: Path) -> None:
    label = np.array([0.0] * 30 + [1.0] * 10)[np.newaxis]
    split = compose(["dataset=mnist"]).split
    with pytest.raises(
        DataError,
        match=r"every class in training, got no 'b' \(10 images\); leave .*, use split=stratified",
    ):
        load_splits(config(write(tmp_path, label=label)), split, seed=0)


def test_a_class_too_small_to_stratify_is_refused(tmp_path: Path) -> None:
    label = np.array([1.0] + [0.0] * 39)[np.newaxis]
    with pytest.raises(
        DataError, match=r"^split: expected at least 3 images of each class .* got 1 of class 'b'; add images"
    ):
        load_splits(config(write(tmp_path, label=label), train_images=None), compose([]).split, seed=0)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The three places a file can lie in, all of them empty, and the environment that leads there."""
    found = {name: tmp_path / name for name in ("path", "data", "cache")}
    monkeypatch.setenv("HCR_DATA_DIR", str(found["data"]))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: found["cache"] / name)
    for folder in (*found.values(), found["cache"] / "hcr"):
        folder.mkdir()
    return found


def test_a_file_is_looked_for_at_its_path_then_in_the_data_folder_then_in_the_cache(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_cache = places["cache"] / "hcr" / "small.mat"
    in_cache.touch()
    assert find_file(config()) == in_cache
    in_data = places["data"] / "small.mat"
    in_data.touch()
    assert find_file(config()) == in_data
    at_path = places["path"] / "any.mat"
    at_path.touch()
    assert find_file(config(at_path)) == at_path
    monkeypatch.delenv("HCR_DATA_DIR")
    assert find_file(config()) == in_cache


def test_the_user_s_cache_is_the_one_of_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HCR_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    (tmp_path / "hcr").mkdir()
    (tmp_path / "hcr" / "small.mat").touch()
    assert find_file(config()) == tmp_path / "hcr" / "small.mat"


def test_a_file_that_is_nowhere_is_refused_with_where_to_put_it(places: dict[str, Path]) -> None:
    with pytest.raises(DataError) as refused:
        find_file(config())
    message = str(refused.value)
    assert message.startswith("dataset=small: small.mat or small.npz not found; put small.mat or small.npz into ")
    for words in (str(places["data"]), str(places["cache"] / "hcr"), "dataset.path=FILE", "dataset=digits"):
        assert words in message


def test_a_path_that_is_no_file_is_refused_and_nothing_else_is_tried(places: dict[str, Path]) -> None:
    (places["data"] / "small.mat").touch()
    for path in (places["path"], places["path"] / "nope.mat"):
        with pytest.raises(DataError, match=r"^dataset\.path: expected a file"):
            find_file(config(path))


def test_a_path_may_start_at_home(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(places["path"]))
    (places["path"] / "x.mat").touch()
    assert find_file(config(Path("~/x.mat"))) == places["path"] / "x.mat"


def test_the_digits_are_scikit_learn_s_in_17_grey_levels_up_to_255() -> None:
    data, original = load_dataset(compose([]).dataset), load_digits()
    assert data.images.shape == (1797, 8, 8, 1)
    assert (len(np.unique(data.images)), data.images.min(), data.images.max()) == (17, 0, 255)
    assert data.is_test is None
    levels = np.rint(np.arange(17) * 255 / 16).astype(np.uint8)
    expected = sorted(
        (levels[image.astype(int)].tobytes(), int(n)) for image, n in zip(original.images, original.target, strict=True)
    )
    assert sorted((i.tobytes(), int(n)) for i, n in zip(data.images, data.labels, strict=True)) == expected


@pytest.fixture(scope="module")
def mnist(mnist_dir: Path) -> Any:
    path = mnist_dir / "mnist-original.mat"
    return path, load_dataset(compose(["dataset=mnist", f"dataset.path={path}"]).dataset)


def test_the_real_mnist_has_its_known_images_of_each_class_on_each_side(mnist: Any) -> None:
    _, data = mnist
    assert data.images.shape == (70000, 28, 28, 1)
    for side, expected in PER_CLASS.items():
        assert np.bincount(data.labels[data.is_test == side]).tolist() == expected


def test_the_real_mnist_has_the_published_pixels_in_file_order(mnist: Any) -> None:
    path, data = mnist
    pixels = scipy.io.loadmat(path, variable_names=["data"])["data"].T
    assert hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest() == PIXELS_SHA256
    # The canonical order has the same images: no pixel was turned or lost on the way.
    ours = np.sort([hashlib.sha256(image).digest() for image in data.images])
    assert (ours == np.sort([hashlib.sha256(image).digest() for image in np.ascontiguousarray(pixels)])).all()


class Ragged(DataFormat):
    """An installed package's format whose images are not of one size."""

    def load(self) -> Any:
        return self.make_dataset([[1], [1, 2]], [0, 1])


class Bare(DataFormat):
    """An installed package's format that returns the arrays themselves."""

    def load(self) -> Any:
        return [[1]], [0], None


@pytest.mark.parametrize(
    ("kind", "told"), [(Ragged, "ValueError: "), (Bare, "expected the result of make_dataset, got a tuple")]
)
def test_a_format_of_a_package_that_gives_no_data_set_is_refused_by_its_name(kind: type[DataFormat], told: str) -> None:
    cfg = kind(name="theirs", format="ragged", image_shape=(4, 3, 1), num_classes=2, class_names=("a", "b"))
    with pytest.raises(DataError, match=f"^dataset=theirs: {told}"):
        load_dataset(cfg)
