"""Identical and nearly identical images, within a side and across sides."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcr.data.inspection.blocks import blocks
from hcr.data.inspection.features import Features, unit_vectors
from hcr.data.labels import Labels
from hcr.data.pixels import Images
from hcr.data.views import AnyImages

# Correlation of pixels from which images are near copies. JPEG of quality 75, noise of sd 5 and darkening keep it above
# 0.99; of 10,000 MNIST images one has another that is so alike. experiments/data/suspicious-labels.md has the table.
NEAR = 0.99
MOST_PAIRS = 5_000_000_000  # compared pairs of images; of larger data sets, evenly spaced images are compared with all
MOST_KEPT = 1_000  # listed pairs of two sides
PARTNERS = 4  # near copies of an image after which no more are searched; candidates in a tile that are compared in full
ROWS, COLUMNS = 512, 2_048  # of a tile of pairs: 4 MiB of float32, which fits into a cache
PAIR_BYTES = 1 << 24  # pixels of images that are compared in full

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class NearPair:
    """Two images that are nearly identical: their places on their sides, and the correlation of their pixels."""

    index: int
    other: int
    correlation: float


@dataclass(frozen=True)
class Copies:
    """The images of one side that have a copy on another side; or on the same, where an image is no copy of itself.

    Attributes:
        side, other: names of the sides.
        num_images: images of `side`.
        num_identical: of these, images with an identical one in `other`.
        num_compared: of the other images, those that were searched for near copies; all, or evenly spaced ones. Within
            a side only the first of several identical images counts.
        num_near: of these, images with a nearly identical one.
        pairs: the near pairs, most alike first; at most MOST_KEPT.
    """

    side: str
    other: str
    num_images: int
    num_identical: int
    num_compared: int
    num_near: int
    pairs: tuple[NearPair, ...]

    @property
    def share(self) -> float:
        """The fraction of images with a copy, identical or near; estimated if not all were compared."""
        if not self.num_images:
            return 0.0
        identical = self.num_identical / self.num_images
        near = self.num_near / self.num_compared if self.num_compared else 0.0
        return identical + (1 - identical) * near


def identities(sides: Mapping[str, AnyImages]) -> dict[str, Indices]:
    """A number for each image of each side, (n,): identical images have the same."""
    known: dict[bytes, int] = {}

    def number(image: Images) -> int:
        return known.setdefault(hashlib.sha256(image.tobytes()).digest(), len(known))

    return {
        side: np.array([number(image) for _, block in blocks(images) for image in block], dtype=np.intp)
        for side, images in sides.items()
    }


def conflicting(identity: Indices, labels: Labels) -> Indices:
    """The sorted places of images that are identical to an image with another label."""
    pairs = np.unique(np.stack([identity, labels], axis=1), axis=0)
    ids, counts = np.unique(pairs[:, 0], return_counts=True)
    return np.flatnonzero(np.isin(identity, ids[counts > 1]))


def copies_of(
    sides: Mapping[str, AnyImages],
    features: Mapping[str, Features],
    identity: Mapping[str, Indices],
    most_pairs: int = MOST_PAIRS,
) -> tuple[Copies, ...]:
    """The copies within each side, and those of each side in the sides before it.

    Args:
        sides: images (n, H, W, C), 0..255.
        features: as `features_of`.
        identity: as `identities`.
        most_pairs: pairs of images to compare, at most.
    """
    names = list(sides)
    asked = [(side, other) for i, side in enumerate(names) for other in names[: i + 1]]
    searches = {pair: _search_places(*pair, identity, features) for pair in asked}
    num_pairs = sum(len(queries) * len(references) for queries, references in searches.values())
    step = max(1, -(-num_pairs // most_pairs))
    found = []
    for (side, other), (queries, references) in searches.items():
        chosen = queries[::step]
        pairs = _near_pairs(sides, features, side, other, chosen, references)
        found.append(
            Copies(
                side=side,
                other=other,
                num_images=len(identity[side]),
                num_identical=_count_identical(identity, side, other),
                num_compared=len(chosen),
                num_near=len({pair.index for pair in pairs}),
                pairs=_listed(pairs, is_within=side == other),
            )
        )
    return tuple(found)


def _count_identical(identity: Mapping[str, Indices], side: str, other: str) -> int:
    if side != other:
        return int(np.isin(identity[side], identity[other]).sum())
    counts = np.unique(identity[side], return_counts=True)[1]
    return int(counts[counts > 1].sum())


def _search_places(
    side: str, other: str, identity: Mapping[str, Indices], features: Mapping[str, Features]
) -> tuple[Indices, Indices]:
    """The images of `side` to find near copies of, and the distinct images of `other`; none is blank."""
    references = np.sort(np.unique(identity[other], return_index=True)[1])
    references = references[~np.isnan(features[other][references, 0])]
    if side == other:
        return references, references
    queries = np.flatnonzero(~np.isin(identity[side], identity[other]) & ~np.isnan(features[side][:, 0]))
    return queries, references


def _near_pairs(
    sides: Mapping[str, AnyImages],
    features: Mapping[str, Features],
    side: str,
    other: str,
    queries: Indices,
    references: Indices,
) -> list[NearPair]:
    """The pairs of at least NEAR at full size, among the candidates of each query."""
    found = []
    own = np.searchsorted(references, queries) if side == other else None
    step = max(1, PAIR_BYTES // (2 * max(1, sides[side][:1].size)))
    num_found = np.zeros(len(queries), np.intp)
    for rows, columns in _candidates(features[side][queries], features[other][references], own, num_found):
        for start in range(0, len(rows), step):
            left, right = queries[rows[start : start + step]], references[columns[start : start + step]]
            correlation = correlations(sides[side][left], sides[other][right])
            near = np.flatnonzero(correlation >= NEAR)
            found += [NearPair(int(left[i]), int(right[i]), float(correlation[i])) for i in near]
            np.add.at(num_found, rows[start + near], 1)
    return found


def correlations(left: Images, right: Images) -> NDArray[np.float32]:
    """The correlation of the pixels of each image of `left` with that of `right`, (n,); NaN for blank images."""
    products: NDArray[np.float32] = (unit_vectors(left) * unit_vectors(right)).sum(axis=1)
    return products


def _candidates(
    queries: Features, references: Features, own: Indices | None, num_found: Indices
) -> Iterator[tuple[Indices, Indices]]:
    """Pairs (rows of `queries`, rows of `references`) whose projections are as close as those of near copies.

    Both are sorted by the first component, so that a block of queries is compared only with a window of references. At
    most PARTNERS of each query in a tile are kept, so that memory is bounded.

    Args:
        own: the row of `references` that each query itself is, if it is one of them.
        num_found: near copies of each query, counted by the caller; a query that has PARTNERS is left out.
    """
    radius_squared = 2 * (1 - NEAR) * 1.001  # the margin covers rounding
    radius = np.sqrt(radius_squared)
    order, among = np.argsort(queries[:, 0], kind="stable"), np.argsort(references[:, 0], kind="stable")
    first = references[among, 0]
    # |q - r|² <= radius² is q.r - |r|²/2 >= (|q|² - radius²) / 2: one product of matrices with a column more.
    half = np.square(references[among]).sum(axis=1, keepdims=True) / 2
    columns = np.concatenate([references[among], half], axis=1).T
    place = np.empty(len(among), np.intp)
    place[among] = np.arange(len(among))
    for top in range(0, len(order), ROWS):
        rows = order[top : top + ROWS]
        block = np.concatenate([queries[rows], np.full((len(rows), 1), -1, np.float32)], axis=1)
        least = (np.square(queries[rows]).sum(axis=1) - np.float32(radius_squared)) / 2
        start, stop = np.searchsorted(first, [block[0, 0] - radius, block[-1, 0] + radius])
        for left in range(start, stop, COLUMNS):
            right = min(left + COLUMNS, stop)
            closeness = block @ columns[:, left:right]
            if own is not None:
                column = place[own[rows]] - left
                inside = np.flatnonzero((column >= 0) & (column < right - left))
                closeness[inside, column[inside]] = -np.inf
            near = np.flatnonzero((closeness.max(axis=1) >= least) & (num_found[rows] < PARTNERS))
            if len(near):
                i, j = _closest(closeness[near], least[near])
                yield rows[near[i]], among[left + j]


def _closest(closeness: NDArray[np.float32], least: NDArray[np.float32]) -> tuple[Indices, Indices]:
    """The rows and columns of the PARTNERS largest numbers of each row that are at least `least` of it."""
    count = min(PARTNERS, closeness.shape[1])
    columns = np.argpartition(-closeness, count - 1, axis=1)[:, :count]
    i, k = np.nonzero(np.take_along_axis(closeness, columns, axis=1) >= least[:, np.newaxis])
    return i, columns[i, k]


def _listed(pairs: list[NearPair], *, is_within: bool) -> tuple[NearPair, ...]:
    """The pairs, most alike first; within a side each once."""
    if is_within:
        by_images = {(min(p.index, p.other), max(p.index, p.other)): p.correlation for p in pairs}
        pairs = [NearPair(*images, correlation) for images, correlation in by_images.items()]
    return tuple(sorted(pairs, key=lambda pair: (-pair.correlation, pair.index, pair.other))[:MOST_KEPT])
