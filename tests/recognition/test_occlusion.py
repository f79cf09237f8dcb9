"""The map shows the parts of an image on which the answer depends."""

import numpy as np
import pytest

from hcr.recognition.occlusion import occlusion_sensitivity


def by_corner(images: np.ndarray) -> np.ndarray:
    """Class 1 is as probable as the pixel at row 3, column 20 is bright."""
    sure = images[:, 3, 20, 0].astype(np.float32) / 255
    return np.stack([1 - sure, sure], axis=1)


def test_only_the_pixels_that_matter_are_marked() -> None:
    image = np.zeros((28, 28, 1), np.uint8)
    image[2:26, 18:22] = 255
    fall = occlusion_sensitivity(by_corner, image, 1)
    assert fall.shape == (28, 28)
    assert fall.max() == fall[3, 20] == pytest.approx(1), "whatever covers it takes all of the probability"
    assert (fall[8:] == 0).all() and (fall[:, :17] == 0).all()


def test_covering_what_speaks_against_the_answer_is_negative() -> None:
    image = np.zeros((28, 28, 1), np.uint8)
    image[3, 20] = 255
    assert occlusion_sensitivity(by_corner, image, 0)[3, 20] == pytest.approx(-1)


@pytest.mark.parametrize("shape", [(8, 8, 1), (1, 5, 1), (12, 30, 3)])
def test_any_shape_of_image_has_a_map(shape: tuple[int, int, int]) -> None:
    def constant(images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 2), 0.5, np.float32)

    fall = occlusion_sensitivity(constant, np.zeros(shape, np.uint8), 0)
    assert fall.shape == shape[:2] and (fall == 0).all()
