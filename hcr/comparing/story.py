"""One comparison: the sides, the verdicts, what differs and what is to be said of the images."""

from collections.abc import Sequence
from dataclasses import dataclass

from hcr.comparing.differing import Differing, differing
from hcr.comparing.sides import Compared, HeldOutImages, compare_sides, held_out_images
from hcr.evaluation.comparison import Comparison
from hcr.evaluation.statistics import Kind

PARTS = {"val": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class Compare:
    """A comparison and its facts.

    Attributes:
        sides: two or more.
        part: "val" or "test", the images that they are compared on.
        found: the numbers of all pairs.
        images: which images the sides were scored on.
        differing: what differs.
    """

    sides: Sequence[Compared]
    part: str
    found: Comparison
    images: HeldOutImages
    differing: Differing

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the sides."""
        return tuple(side.label for side in self.sides)

    @property
    def means(self) -> dict[str, float]:
        """The mean score of each side by its name, on the images of the first pair that it is in."""
        found: dict[str, float] = {}
        for pair in self.found.pairs:
            for label, mean in zip((pair.first, pair.second), pair.means, strict=True):
                found.setdefault(label, mean)
        return found


def compare_runs(sides: Sequence[Compared], part: str, kind: Kind) -> Compare:
    """Compare the sides on the images of `part`, "val" or "test".

    Raises:
        TrackingError: as `compare_sides`.
    """
    found = compare_sides(sides, part, kind)
    return Compare(sides=sides, part=part, found=found, images=held_out_images(sides, part), differing=differing(sides))
