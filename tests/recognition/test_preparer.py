"""An image is prepared as the data set was: the set's own images to the last bit, others so that they look alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from hcr.data.loading import load_dataset
from hcr.data.pictures import decode
from hcr.data.raw import Picture
from hcr.gate.compose import compose
from hcr.gate.resolve import fill_from_data
from hcr.recognition.preparer import NoInkError, Preparer, preparer_of

Draw = Callable[..., np.ndarray]


def of(*overrides: str) -> Preparer:
    return preparer_of(fill_from_data(compose([*overrides])).dataset, "")


@pytest.fixture(scope="module")
def mnist(mnist_dir: Path) -> np.ndarray:
    """Every 100th image of MNIST: (700, 28, 28, 1)."""
    data = scipy.io.loadmat(mnist_dir / "mnist-original.mat", variable_names=["data"])["data"]
    return np.ascontiguousarray(data.T[::100].reshape(-1, 28, 28, 1))


def test_images_of_mnist_stay_as_they_are_and_their_negatives_become_them(mnist: np.ndarray) -> None:
    preparer = of("dataset=mnist")
    for image in mnist:
        assert (preparer.prepare(image) == image).all()
        assert (preparer.prepare(255 - image) == image).all()
        assert (preparer.prepare(np.repeat(image, 3, axis=2)) == image).all()


def test_images_of_digits_stay_as_they_are_and_their_negatives_become_them() -> None:
    preparer = of()
    for image in load_dataset(compose([]).dataset).images:
        assert (preparer.prepare(image) == image).all()
        assert (preparer.prepare(255 - image) == image).all()


def test_an_image_of_the_right_size_that_is_not_made_so_is_made_so(photo: Draw) -> None:
    preparer = of("dataset=mnist")
    made = preparer.prepare(photo(size=(28, 28), height=12, at=(2, 3)))
    rows = np.flatnonzero(made[..., 0].max(axis=1))
    assert made.shape == (28, 28, 1) and made[0].max() == 0 and rows[-1] - rows[0] + 1 == pytest.approx(20, abs=1)


@pytest.mark.parametrize(
    ("overrides", "shape"),
    [
        (["dataset=mnist"], (28, 28, 1)),
        (["dataset=mnist", "dataset.image_size=[20,24]"], (20, 24, 1)),
        (["dataset=mnist", "dataset.color=rgb"], (28, 28, 3)),
        ([], (8, 8, 1)),
        (["dataset=letters"], (28, 28, 1)),
    ],
)
def test_photos_of_any_kind_get_the_shape_of_the_model(
    photo: Draw, overrides: list[str], shape: tuple[int, int, int]
) -> None:
    preparer = of(*overrides)
    for image in (photo(), photo(paper=(200, 190, 90), ink=(20, 30, 120)), photo(paper=30, ink=220)):
        made = preparer.prepare(image)
        assert made.shape == shape and made.dtype == np.uint8
        assert np.median(made) < 100 and made.max() > 150, "light on dark"


def test_dark_on_light_and_light_on_dark_become_the_same(photo: Draw) -> None:
    preparer = of("dataset=mnist")
    image = photo(noise=0)
    difference = np.abs(preparer.prepare(image).astype(int) - preparer.prepare(255 - image).astype(int))
    assert difference.mean() < 1


@pytest.mark.parametrize("overrides", [["dataset=mnist"], [], ["dataset=letters"]])
def test_a_blank_image_is_told(overrides: list[str]) -> None:
    preparer = of(*overrides)
    for level in (0, 128, 255):
        with pytest.raises(NoInkError, match="no ink found"):
            preparer.prepare(np.full((60, 50, 1), level, np.uint8))


def write_scans(folder: Path, photo: Draw, *, paper: int, ink: int) -> Path:
    """Pictures of several sizes, in two folders."""
    rng = np.random.default_rng(0)
    for label, height in (("large", 60), ("small", 30)):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            size = (int(rng.integers(80, 110)), int(rng.integers(70, 100)))
            image = photo(size=size, height=height, at=(8, int(rng.integers(4, 20))), paper=paper, ink=ink, noise=1)
            image[0, 0] = number  # no two alike
            Image.fromarray(image[..., 0]).save(folder / label / f"{number}.png")
    return folder


@pytest.mark.parametrize("fit", ["pad", "stretch", "center_of_mass"])
@pytest.mark.parametrize(("paper", "ink", "invert"), [(230, 30, "auto"), (20, 220, "auto"), (230, 30, "false")])
def test_files_of_a_folder_are_prepared_as_they_were_for_training(
    tmp_path: Path, photo: Draw, fit: str, paper: int, ink: int, invert: str
) -> None:
    folder = write_scans(tmp_path / "scans", photo, paper=paper, ink=ink)
    words = ["dataset=folder", f"dataset.path={folder}", "dataset.image_size=[24,20]", f"dataset.fit={fit}"]
    cfg = fill_from_data(compose([*words, f"dataset.invert={invert}"]))
    data = load_dataset(cfg.dataset)
    preparer = preparer_of(cfg.dataset, "; ".join(data.notes))
    made = {preparer.prepare(decode(Picture(path, path.name))).tobytes() for path in folder.glob("*/*.png")}
    assert made == {image.tobytes() for image in np.asarray(data.images)}


def test_a_light_on_dark_photo_for_a_model_of_dark_on_light_scans_is_not_inverted_twice(
    tmp_path: Path, photo: Draw
) -> None:
    folder = write_scans(tmp_path / "scans", photo, paper=230, ink=30)
    cfg = fill_from_data(compose(["dataset=folder", f"dataset.path={folder}", "dataset.image_size=[24,20]"]))
    preparer = preparer_of(cfg.dataset, "; ".join(load_dataset(cfg.dataset).notes))
    assert preparer.is_light
    for image in (photo(paper=20, ink=220), photo(paper=230, ink=30)):
        assert np.median(preparer.prepare(image)) < 60


def test_a_run_of_an_earlier_version_may_be_told_how_its_images_were_made(photo: Draw) -> None:
    dataset = compose(["dataset=mnist", "dataset.made_as=null"]).dataset
    whole, found = preparer_of(dataset, ""), preparer_of(dataset, "", made_as="mnist")
    assert (found.prepare(photo()) == of("dataset=mnist").prepare(photo())).all()
    assert (whole.prepare(photo()) > 0).mean() > (found.prepare(photo()) > 0).mean()
