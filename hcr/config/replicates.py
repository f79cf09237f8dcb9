"""Replicates: the runs of one point of a sweep, which differ only by seed and, in a cross-validation, by fold."""

from collections.abc import Iterable
from typing import NamedTuple

SEED, FOLD = "seed", "split.fold"
REPLICATE_KEYS = (FOLD, SEED)  # not part of a point; in the order of overrides, which end with the seed


class Replicate(NamedTuple):
    """One run of a point.

    Attributes:
        seed: the run's.
        fold: the number of its fold; None: no cross-validation.
    """

    seed: int
    fold: int | None = None

    @property
    def values(self) -> dict[str, int]:
        """Its values by key."""
        return ({} if self.fold is None else {FOLD: self.fold}) | {SEED: self.seed}

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.values.items())


def sorted_replicates(replicates: Iterable[Replicate]) -> list[Replicate]:
    """Replicates sorted by seed, then by fold."""
    return sorted(replicates, key=lambda own: (own.seed, -1 if own.fold is None else own.fold))


def point_words(overrides: Iterable[str]) -> list[str]:
    """The overrides that make a point: those of other keys."""
    return [word for word in overrides if word.partition("=")[0] not in REPLICATE_KEYS]
