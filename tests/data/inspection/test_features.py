"""The vectors among which copies and neighbours are searched."""

import numpy as np
import pytest

from hcr.data.inspection import features
from hcr.data.inspection.blocks import blocks
from hcr.data.inspection.features import features_of, unit_vectors


def noise(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_the_product_of_unit_vectors_is_the_correlation() -> None:
    images = noise(2, 6, 5, 1)
    left, right = unit_vectors(images)
    assert left @ right == pytest.approx(np.corrcoef(images.reshape(2, -1))[0, 1], abs=1e-5)


def test_a_projection_never_makes_a_distance_longer() -> None:
    images = noise(60, 9, 9, 1)
    (projected,) = features_of([images])
    whole = unit_vectors(images)
    for i in range(1, 60):
        assert np.linalg.norm(projected[0] - projected[i]) <= np.linalg.norm(whole[0] - whole[i]) + 1e-5


def test_few_pixels_keep_every_distance() -> None:
    images = noise(20, 4, 4, 1)
    (projected,) = features_of([images])
    whole = unit_vectors(images)
    assert np.linalg.norm(projected[3] - projected[8]) == pytest.approx(np.linalg.norm(whole[3] - whole[8]), abs=1e-5)


def test_brightness_and_contrast_make_no_difference_and_blank_images_have_no_vector() -> None:
    images = noise(10, 8, 8, 1).astype(float) / 2
    images[1] = images[0] * 0.5 + 40
    images[2] = 7
    (found,) = features_of([np.rint(images).astype(np.uint8)])
    assert np.linalg.norm(found[0] - found[1]) < 0.02
    assert np.isnan(found[2]).all()
    assert not np.isnan(found[3:]).any()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(100, 33, 3), (70, 40, 1), (1, 90, 1), (8, 8, 3)])
def test_images_of_any_shape_have_vectors_of_one_length_on_all_sides(shape: tuple[int, int, int]) -> None:
    sides = [noise(12, *shape), noise(3, *shape, seed=1), noise(0, *shape)]
    found = features_of(sides)
    assert [len(side) for side in found] == [12, 3, 0]
    assert len({side.shape[1] for side in found}) == 1


def test_blocks_and_sides_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(30, 8, 8, 1)
    (whole,) = features_of([images])
    monkeypatch.setattr(features, "blocks", lambda images: blocks(images, 600))
    parts = np.concatenate(features_of([images[:10], images[10:]]))
    assert np.abs(parts - whole).max() < 1e-5


def test_only_blank_images_give_no_vectors() -> None:
    (found,) = features_of([np.full((5, 4, 4, 1), 9, np.uint8)])
    assert np.isnan(found).all()
