"""Splits, one per module: a class that declares its settings and draws the three parts."""

from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from pydantic import Field

from hcr.config.parts import Part, Parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hcr.data.dataset import Dataset
    from hcr.data.formats import DataFormat

    Indices: TypeAlias = NDArray[np.intp]
    Kept: TypeAlias = NDArray[np.bool_]

FractionOfImages = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
ValidationOfAll = Annotated[FractionOfImages, Field(description="fraction of all images kept for validation")]
TestOfAll = Annotated[FractionOfImages, Field(description="fraction of all images kept for test")]
TestSeed = Annotated[Seed, Field(description="seed of the test draw: the same test for every run's seed")]


class Split(Part):
    """Base class of splits into training, validation and the sealed test."""

    group: ClassVar[str] = "split"

    # Configs from before this key mean null.
    seed: Annotated[
        Seed | None, Field(description="seed of the draw, the same split for every run's seed; null: the run's seed")
    ] = None

    def seed_for(self, run_seed: int) -> int:
        """The seed that a run with the seed `run_seed` draws its validation images with."""
        return run_seed if self.seed is None else self.seed

    def check_dataset(self, dataset: "DataFormat") -> None:
        """Refuse a data set that this split cannot handle.

        Raises:
            ConfigError: the data set lacks what the split needs.
        """

    def resolved(self, dataset: "DataFormat") -> "Split":
        """The split to record, by what the data set has; itself, but for `split=auto`."""
        return self

    def draw(self, data: "Dataset", seed: int, kept: "Kept | None" = None) -> "tuple[Indices, Indices, Indices]":
        """The indices of training, validation and test images, in any order.

        The whole data set is split, whichever classes are kept, so that leaving out a class moves no other image.

        Args:
            data: the whole data set.
            seed: of the draw, from `seed_for`.
            kept: (classes,), True for the classes that the run uses; the others are not refused. None: all.

        Raises:
            DataError: too few images.
        """
        raise NotImplementedError


SPLITS = Parts(__name__, Split, "hcr.splits", "draw")
