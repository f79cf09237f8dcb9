"""Finds the ink of one character in a photo or scan: uneven light, either polarity, colour, specks and shadows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from hcr.data.pixels import Images

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

WORKING = 384  # pixels of the longer side at which ink is looked for
COARSE = 96  # the same of the picture from which the paper is estimated
THICKEST = 0.36  # of the shorter side: what is wider than this is paper, not a stroke
AROUND = 0.3  # of the shorter side: the polarity is told at half this distance from contrast
SHARP = 96  # pixels of the ink box's longer side below which the picture is looked at again, closer
MARGIN = 0.35  # of the ink box's longer side, around it, when looking closer
LUMA = np.array([0.299, 0.587, 0.114])
SPECK = 0.025  # of the area of all ink: a part below this is a speck
INNER = 0.2  # of the ink: if the parts inside the picture have this much, those at its border are shadows
FAINTEST = 0.05  # least contrast of ink against paper; a fraction of the distance from black to white
SIGMAS, FEWER_SIGMAS = 6.0, 2.5  # the same in standard deviations of noise: to tell that there is ink, and of all of it
EDGE = (0.3, 0.7)  # of the ink's darkness: paper below, ink above, and a soft edge between


@dataclass(frozen=True)
class Ink:
    """The ink of a character.

    Attributes:
        strength: (h, w), from 0, paper, to 1, ink; cut to the box of the ink.
        is_light: True if the ink is lighter than the paper.
    """

    strength: Plane
    is_light: bool


def find_ink(image: Images) -> Ink | None:
    """The ink in an image, or None if it is blank.

    The paper is what remains of the picture when all that is narrower than a stroke may be is closed (grey closing for
    dark ink, opening for light ink), so it follows light, shadows and their edges. Ink is what differs from the paper,
    by Otsu's threshold in the neighbourhood of what stands out from the noise. Colours are projected on the axis on
    which they differ most. The polarity is that in which the surroundings of the ink, and the picture's border, are
    paper.

    Args:
        image: (H, W, C), C 1 or 3.

    Source:
        Otsu 1979, "A Threshold Selection Method from Gray-Level Histograms"; closing as background:
        Serra 1982, "Image Analysis and Mathematical Morphology", chapter XII (top-hat).
    """
    axis = _axis(image)
    found = _look(image, axis)
    if found is None:
        return None
    strength, box, is_light, scale = found
    longest = max(box[0].stop - box[0].start, box[1].stop - box[1].start)
    if longest < SHARP and scale < 1:  # there is more to see than was looked at
        margin = MARGIN * longest
        rows, columns = (
            slice(max(0, int((part.start - margin) / scale)), int((part.stop + margin) / scale) + 1) for part in box
        )
        again = _look(image[rows, columns], axis, is_light)
        if again is not None:
            strength, box, is_light, _ = again
    return Ink(strength[box], is_light)


def is_light_ink(image: Images) -> bool:
    """True if the ink of an image (H, W, C) is lighter than its paper."""
    return _is_light(_gray(image, _axis(image), COARSE))


Found = tuple[Plane, tuple[slice, slice], bool, float]


def _look(image: Images, axis: Plane, is_light: bool | None = None) -> Found | None:
    """Strength of the ink (h, w), its box, its polarity (if not given), and the scale of `strength` to `image`."""
    working = _gray(image, axis, WORKING)
    scale = max(working.shape) / max(image.shape[:2])
    working = ndimage.gaussian_filter(working, 0.8 if scale < 1 else 0.5)
    lower, upper = _envelopes(working)
    if is_light is None:
        is_light = _is_light(working)
    paper = lower if is_light else upper
    depth = working - paper if is_light else paper - working
    if not is_light:  # what ink takes from the light is a share of it, in the shade too
        depth = depth / np.maximum(paper, 0.1 * max(float(upper.max()), 1e-6)) * float(np.median(upper))
    noise = _noise(working)
    depth = np.maximum(depth - min(float(np.median(depth)), 2 * noise), 0)  # noise lifts the paper a little
    mask = _mask(depth, noise)
    if mask is None:
        return None
    darkness = np.percentile(depth[mask], 75)
    low, high = EDGE
    strength = np.clip((depth / darkness - low) / (high - low), 0, 1).astype(np.float32)
    strength[~ndimage.binary_dilation(mask, iterations=2)] = 0
    inked = strength >= 0.5
    if not inked.any():
        return None
    return strength, ndimage.find_objects(inked.astype(np.int8))[0], is_light, scale


def _axis(image: Images) -> Plane:
    """(C,), the axis on which the colours of an image differ most, locally; of length 1, or the weights of luma."""
    if image.shape[2] == 1:
        return np.ones(1, np.float32)
    coarse = np.stack([_gray(image[..., c : c + 1], np.ones(1, np.float32), COARSE) for c in range(3)], axis=2)
    sigma = max(coarse.shape) / 6
    local = coarse - ndimage.gaussian_filter(coarse, (sigma, sigma, 0))
    _, axes = np.linalg.eigh(np.cov(local.reshape(-1, 3), rowvar=False))
    axis = axes[:, -1] * np.sign(axes[:, -1] @ LUMA or 1)
    return (LUMA if (axis > 0.3).all() else axis).astype(np.float32)  # mostly light and dark, not colours


def _gray(image: Images, axis: Plane, longest: int) -> Plane:
    """(h, w), the projection of an image on an axis, from 0: at most `longest` pixels on the longer side, and SHARP or
    more."""
    most = max(image.shape[:2])
    scale = min(longest, max(most, SHARP)) / most
    size = _scaled(image.shape[1], scale), _scaled(image.shape[0], scale)
    method = Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.BICUBIC
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    pixels = np.asarray(picture.resize(size, method, reducing_gap=2.0), np.float32) / 255
    found = pixels @ axis if pixels.ndim == 3 else pixels
    lifted: Plane = (found - min(0.0, float(found.min()))).astype(np.float32)
    return lifted


def _envelopes(working: Plane) -> tuple[Plane, Plane]:
    """The paper under light ink, and under dark ink, as it would be without any: (h, w) each."""
    scale = min(1.0, COARSE / max(working.shape))
    size = _scaled(working.shape[0], scale), _scaled(working.shape[1], scale)
    coarse = ndimage.median_filter(_resized(working, size), 3)
    width = max(3, round(THICKEST * min(size)))
    slope = _plane(coarse)  # light that falls off would turn back at the border, where the image is mirrored
    envelopes = []
    for close in (ndimage.grey_opening, ndimage.grey_closing):
        closed = slope + ndimage.gaussian_filter(close(coarse - slope, (width, width)), 1.0)
        envelopes.append(_resized(closed, (working.shape[0], working.shape[1])))
    return envelopes[0], envelopes[1]


def _plane(gray: Plane) -> Plane:
    """(h, w), the plane nearest to an image."""
    height, width = gray.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones(gray.size), y.ravel(), x.ravel()], axis=1)
    weights = np.linalg.lstsq(terms, gray.ravel().astype(np.float64), rcond=None)[0]
    found: Plane = (terms @ weights).reshape(gray.shape).astype(np.float32)
    return found


def _is_light(working: Plane) -> bool:
    """True if ink is lighter than paper: at some distance from all contrast, and at the border, it is dark."""
    scale = min(1.0, COARSE / max(working.shape))
    coarse = _resized(working, (_scaled(working.shape[0], scale), _scaled(working.shape[1], scale)))
    coarse = ndimage.median_filter(coarse, 3)
    width = max(3, round(AROUND * min(coarse.shape)) | 1)
    lower, upper = ndimage.minimum_filter(coarse, width), ndimage.maximum_filter(coarse, width)
    contrast = upper - lower
    near = contrast > 0.5 * np.percentile(contrast, 95)
    around = near & ~ndimage.binary_erosion(near, iterations=2)  # at the picture's border too
    return bool((coarse - lower)[around].sum() < (upper - coarse)[around].sum())


def _noise(working: Plane) -> float:
    """The standard deviation of a picture's noise, from the differences to its local mean where they are least."""
    rest = working - ndimage.uniform_filter(working, 11)
    return float(np.quantile(np.abs(rest), 0.2) / 0.2533)  # the fifth nearest to the mean of a normal distribution


def _mask(depth: Plane, noise: float) -> Mask | None:
    """Which pixels are the character's, without specks and shadows; None if nothing stands out."""
    standing = depth > max(FAINTEST, SIGMAS * noise)
    if standing.sum() < 4:
        return None
    near = ndimage.binary_dilation(standing, iterations=4)
    least = max(FAINTEST, FEWER_SIGMAS * noise)
    threshold = max(least, _otsu(depth[near]))
    # A faint stroke belongs to the ink if it is joined to a strong one.
    labels, count = ndimage.label(depth > max(least, 0.6 * threshold), np.ones((3, 3)))
    strong = np.bincount(labels[depth > threshold], minlength=count + 1) > 0
    area = np.bincount(labels.ravel(), minlength=count + 1) * strong
    area[0] = 0  # paper
    border = np.zeros(count + 1, bool)
    border[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    inner = area * ~border
    if inner.sum() >= INNER * area.sum():
        area = inner
    kept = area >= max(4, SPECK * area.sum())
    if not kept.any():
        return None
    found: Mask = kept[labels]
    return found


def _otsu(values: NDArray[Any]) -> float:
    """The threshold that separates `values` into two classes with the least variance within them."""
    counts, edges = np.histogram(values, 128)
    middles = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()
    above = below[-1] - below
    total = (counts * middles).cumsum()
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(edges[1 + int(np.nan_to_num(between).argmax())])


def _scaled(side: int, scale: float) -> int:
    return max(1, round(side * scale))


def _resized(plane: Plane, size: tuple[int, int]) -> Plane:
    """Bilinear, with the support widened when shrinking."""
    if plane.shape == size:
        return plane
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))
