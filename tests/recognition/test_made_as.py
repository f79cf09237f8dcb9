"""Images that are made as a data set's makers made theirs look like theirs, and theirs are recognized."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from scipy import ndimage
from sklearn.datasets import load_digits

from hcr.recognition.ink import Ink, find_ink
from hcr.recognition.made_as import as_digits, as_mnist, is_as_digits, is_as_mnist

Draw = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def mnist(mnist_dir: Path) -> np.ndarray:
    """Every 50th image of MNIST: (1400, 28, 28)."""
    data = scipy.io.loadmat(mnist_dir / "mnist-original.mat", variable_names=["data"])["data"]
    return np.ascontiguousarray(data.T[::50].reshape(-1, 28, 28))


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """scikit-learn's digits, 0..255: (1797, 8, 8)."""
    return np.rint(load_digits().images * (255 / 16)).astype(np.uint8)


@pytest.mark.parametrize("size", [(28, 28), (14, 14), (56, 40)])
def test_as_mnist_the_longer_side_fills_the_box_and_the_centre_of_mass_is_in_the_middle(
    glyph: Draw, size: tuple[int, int]
) -> None:
    made = as_mnist(Ink(glyph(200).astype(np.float32), is_light=False), size)
    rows, columns = np.flatnonzero(made.max(axis=1)), np.flatnonzero(made.max(axis=0))
    box = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert max(box[0] / size[0], box[1] / size[1]) == pytest.approx(20 / 28, abs=0.03)
    assert box[1] / box[0] == pytest.approx(0.6, abs=0.06)
    assert ndimage.center_of_mass(made) == pytest.approx((size[0] // 2, size[1] // 2), abs=0.51)


def test_mnist_made_again_from_its_own_ink_is_nearly_itself(mnist: np.ndarray) -> None:
    kept = []
    for image in mnist[::10]:
        ink = find_ink(np.pad(image, 6)[..., np.newaxis])
        assert ink is not None and ink.is_light
        made = as_mnist(ink, (28, 28)).astype(float)
        kept.append(np.corrcoef(made.ravel(), image.ravel())[0, 1])
    assert np.mean(kept) > 0.93


def test_strokes_are_as_thick_and_edges_as_soft_as_in_mnist(mnist: np.ndarray) -> None:
    large = [ndimage.zoom(image.astype(float), 8, order=1) for image in mnist[::10]]
    made = [as_mnist(find_ink(np.rint(255 - image).astype(np.uint8)[..., np.newaxis]), (28, 28)) for image in large]  # type: ignore[arg-type]
    again = np.stack(made)
    assert again.mean() == pytest.approx(mnist[::10].mean(), rel=0.12)
    edges = [((images > 0) & (images < 255)).mean() for images in (again, mnist[::10])]
    assert edges[0] == pytest.approx(edges[1], rel=0.25)


def test_images_of_mnist_are_recognized_and_their_negatives_are_not(mnist: np.ndarray) -> None:
    assert all(map(is_as_mnist, mnist))
    assert not any(is_as_mnist(255 - image) for image in mnist)


def test_what_only_has_the_size_of_mnist_is_not_taken_for_it(mnist: np.ndarray) -> None:
    image = mnist[700]
    assert not is_as_mnist(np.roll(image, 4, axis=1))
    assert not is_as_mnist(np.pad(image[::2, ::2], 7))
    assert not is_as_mnist(np.kron(image[4:24, 4:24], np.ones((2, 2), np.uint8))[6:34, 6:34]), "as large as the image"
    assert not is_as_mnist(np.zeros((28, 28), np.uint8))
    assert not is_as_mnist(np.clip(image.astype(int) + 60, 0, 255).astype(np.uint8))


def test_images_of_digits_are_recognized_and_their_negatives_are_not(digits: np.ndarray) -> None:
    assert all(map(is_as_digits, digits))
    assert not any(is_as_digits(255 - image) for image in digits)


def test_as_digits_ink_fills_the_height_and_is_as_much_as_in_the_set(glyph: Draw, digits: np.ndarray) -> None:
    made = as_digits(Ink(glyph(200).astype(np.float32), is_light=False), (8, 8))
    assert made.shape == (8, 8) and min(made[0].max(), made[-1].max()) > 0
    assert made[:, 0].max() == 0 and made[:, -1].max() == 0
    assert made.mean() == pytest.approx(digits.mean(), rel=0.1)
    assert set(np.unique(made)) <= set(np.rint(np.arange(17) * (255 / 16)).astype(int)), "sixteenths, as counted"
    assert is_as_digits(made)


def test_as_digits_a_slanted_character_becomes_upright() -> None:
    slanted = np.zeros((80, 100), np.float32)
    for row in range(80):
        slanted[row, 80 - row : 92 - row] = 1
    made = as_digits(Ink(slanted, is_light=False), (8, 8)).astype(float)
    columns = [float((row * np.arange(8)).sum() / row.sum()) for row in made]
    assert max(columns) - min(columns) < 0.5


@pytest.mark.slow
def test_a_classifier_of_digits_reads_mnist_that_is_made_as_digits(mnist_dir: Path, digits: np.ndarray) -> None:
    from sklearn.svm import SVC

    stored = scipy.io.loadmat(mnist_dir / "mnist-original.mat")
    images, labels = stored["data"].T[:60000:100].reshape(-1, 28, 28), stored["label"].ravel()[:60000:100]
    made = np.stack([as_digits(find_ink(image[..., np.newaxis]), (8, 8)) for image in images])  # type: ignore[arg-type]
    svm = SVC(C=10, gamma=0.05).fit(digits.reshape(-1, 64) / 255, load_digits().target)
    assert (svm.predict(made.reshape(-1, 64) / 255) == labels).mean() > 0.75
