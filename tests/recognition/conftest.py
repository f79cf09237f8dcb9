"""A drawn character, and photos of it."""

from collections.abc import Callable

import numpy as np
import pytest

Draw = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def glyph() -> Draw:
    """`glyph(height)`: how much ink a character like a 5 has at each pixel, 0 or 1: (height, 0.6 height)."""

    def draw(height: int) -> np.ndarray:
        width, stroke = round(0.6 * height), max(1, round(0.12 * height))
        ink = np.zeros((height, width))
        ink[:stroke] = ink[-stroke:] = 1
        middle = round(0.45 * height)
        ink[middle : middle + stroke] = 1
        ink[:middle, :stroke] = 1
        ink[middle:, -stroke:] = 1
        return ink

    return draw


@pytest.fixture(scope="session")
def photo(glyph: Draw) -> Draw:
    """`photo(...)`: the character on paper, (H, W, C) uint8."""

    def take(
        *,
        size: tuple[int, int] = (240, 320),
        height: int = 110,
        at: tuple[int, int] = (60, 150),
        paper: float | tuple[float, ...] = 225,
        ink: float | tuple[float, ...] = 40,
        light: np.ndarray | float = 1.0,
        noise: float = 1.5,
    ) -> np.ndarray:
        paper, ink = np.atleast_1d(np.array(paper, float)), np.atleast_1d(np.array(ink, float))
        drawn = glyph(height)
        covered = np.zeros((*size, 1))
        covered[at[0] : at[0] + drawn.shape[0], at[1] : at[1] + drawn.shape[1], 0] = drawn
        lit = np.broadcast_to(np.asarray(light, float), size)[..., np.newaxis]
        seen = (paper + (ink - paper) * covered) * lit
        seen = seen + np.random.default_rng(0).normal(0, noise, seen.shape)
        return np.clip(np.rint(seen), 0, 255).astype(np.uint8)

    return take
