"""Ink is found as it was drawn: on any paper, in any light, at any place and size; and not where there is none."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hcr.recognition.ink import find_ink, is_light_ink
from hcr.recognition.made_as import as_mnist

Draw = Callable[..., np.ndarray]


def difference(image: np.ndarray, wanted: np.ndarray) -> float:
    """Mean difference, per inked pixel, of what MNIST's makers had made of an image and of a drawn character."""
    ink = find_ink(image)
    assert ink is not None
    made = as_mnist(ink, (28, 28)).astype(float)
    plain = find_ink(np.pad(255 - np.rint(255 * wanted), 60, constant_values=255).astype(np.uint8)[..., np.newaxis])
    assert plain is not None
    reference = as_mnist(plain, (28, 28)).astype(float)
    return float(np.abs(made - reference).sum() / reference.sum())


def test_the_ink_of_a_clean_scan_is_what_was_drawn(photo: Draw, glyph: Draw) -> None:
    ink = find_ink(photo(height=100, noise=0))
    assert ink is not None and not ink.is_light
    height, width = ink.strength.shape
    assert height == pytest.approx(100, abs=2) and width == pytest.approx(60, abs=2)
    drawn = ndimage.zoom(glyph(100), (height / 100, width / 60), order=0)
    assert np.abs(ink.strength - drawn).mean() < 0.03


@pytest.mark.parametrize(("paper", "ink"), [(225, 40), (120, 20), (40, 225), (15, 90), (225, 190)])
def test_polarity_and_contrast_do_not_matter(photo: Draw, glyph: Draw, paper: int, ink: int) -> None:
    image = photo(paper=paper, ink=ink)
    found = find_ink(image)
    assert found is not None and found.is_light == (ink > paper) == is_light_ink(image)
    assert difference(image, glyph(110)) < 0.05


@pytest.mark.parametrize(
    ("paper", "ink"),
    [((250, 240, 120), (20, 40, 160)), ((190, 120, 120), (60, 150, 60)), ((90, 150, 90), (230, 230, 240))],
)
def test_colours_do_not_matter(photo: Draw, glyph: Draw, paper: tuple[float, ...], ink: tuple[float, ...]) -> None:
    assert difference(photo(paper=paper, ink=ink), glyph(110)) < 0.06


def test_ink_is_found_in_light_that_falls_off(photo: Draw, glyph: Draw) -> None:
    light = np.linspace(1, 0.3, 320)[np.newaxis]
    assert difference(photo(light=light), glyph(110)) < 0.08


def test_the_edge_of_a_shadow_is_not_ink(photo: Draw, glyph: Draw) -> None:
    y, x = np.mgrid[:240, :320]
    light = np.where(x + y > 300, 0.55, 1.0)
    assert difference(photo(light=ndimage.gaussian_filter(light, 3)), glyph(110)) < 0.12


def test_specks_are_left_out(photo: Draw, glyph: Draw) -> None:
    image = photo()
    for row, column in ((20, 30), (200, 40), (30, 290), (215, 300)):
        image[row : row + 4, column : column + 4] = 30
    assert difference(image, glyph(110)) < 0.05


def test_a_dark_corner_is_left_out(photo: Draw, glyph: Draw) -> None:
    image = photo()
    image[200:, :50] = 20
    assert difference(image, glyph(110)) < 0.05


@pytest.mark.parametrize(("size", "at"), [((118, 74), (4, 4)), ((110, 90), (0, 12))])
def test_a_character_cut_to_its_edge_is_found_whole(
    photo: Draw, glyph: Draw, size: tuple[int, int], at: tuple[int, int]
) -> None:
    assert difference(photo(size=size, at=at), glyph(110)) < 0.1


def test_a_small_character_on_a_large_page_is_seen_sharply(photo: Draw, glyph: Draw) -> None:
    image = photo(size=(2400, 1800), height=120, at=(300, 1200))
    assert difference(image, glyph(110)) < 0.1
    assert find_ink(image).strength.shape[0] >= 90  # type: ignore[union-attr]


def test_a_tiny_image_is_enough(photo: Draw, glyph: Draw) -> None:
    ink = find_ink(photo(size=(30, 24), height=20, at=(4, 6)))
    assert ink is not None and not ink.is_light
    drawn = ndimage.zoom(glyph(100), (ink.strength.shape[0] / 100, ink.strength.shape[1] / 60), order=0)
    assert np.corrcoef(ink.strength.ravel(), drawn.ravel())[0, 1] > 0.85


@pytest.mark.parametrize("noise", [0.0, 2.0, 12.0, 30.0])
def test_a_blank_page_has_no_ink(noise: float) -> None:
    rng = np.random.default_rng(3)
    page = np.full((300, 400, 1), 200.0) + rng.normal(0, noise, (300, 400, 1))
    assert find_ink(np.clip(page, 0, 255).astype(np.uint8)) is None


def test_uneven_light_alone_is_no_ink() -> None:
    page = 220 * np.linspace(1, 0.4, 400)[np.newaxis] * np.ones((300, 1))
    assert find_ink(page.astype(np.uint8)[..., np.newaxis]) is None


@settings(
    deadline=None, max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(60, 180), st.floats(0, 1), st.floats(0, 1))
def test_place_and_size_do_not_matter(photo: Draw, glyph: Draw, height: int, down: float, across: float) -> None:
    # Derandomized: a centre of mass between two pixels falls to either, one example in some thousand.
    room = 240 - height - 12, 320 - round(0.6 * height) - 12
    at = 6 + round(down * room[0]), 6 + round(across * room[1])
    assert difference(photo(height=height, at=at), glyph(110)) < 0.15


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_any_pixels_have_ink_or_none(height: int, width: int, channels: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    ink = find_ink(image)
    assert ink is None or (ink.strength.min() >= 0 and 0.5 <= ink.strength.max() <= 1)
