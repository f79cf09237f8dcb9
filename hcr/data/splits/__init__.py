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

FractionOfImages = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class Split(Part):
    """Base class of splits into training, validation and the sealed test."""

    group: ClassVar[str] = "split"

    validation: Annotated[FractionOfImages, Field(description="fraction of images kept for validation")]

    def check_dataset(self, dataset: "DataFormat") -> None:
        """Refuse a data set that this split cannot handle.

        Raises:
            ConfigError: the data set lacks what the split needs.
        """

    def resolved(self, dataset: "DataFormat") -> "Split":
        """The split to record, by what the data set has; itself, but for `split=auto`."""
        return self

    def draw(
        self, data: "Dataset", seed: int, kept: "NDArray[np.bool_] | None" = None
    ) -> "tuple[Indices, Indices, Indices]":
        """The indices of training, validation and test images, in any order.

        Args:
            data: the whole data set.
            seed: the run's seed.
            kept: (K,), False for classes whose images are left out afterwards, and may be too few; None: all are kept.

        Raises:
            DataError: too few images.
        """
        raise NotImplementedError


SPLITS = Parts(__name__, Split, "hcr.splits", "draw")
