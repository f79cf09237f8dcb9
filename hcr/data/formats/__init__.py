"""Data formats, one per module: a class that declares a data set's settings and reads it."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from hcr.config.errors import ConfigError
from hcr.config.parts import Parts
from hcr.config.settings import Listing, Settings, expected
from hcr.config.words import Expected

if TYPE_CHECKING:
    from hcr.data.dataset import Dataset

NAME = Expected("a name")
SHAPE = Expected("[height, width, channels], 1 or more, and 1 or 3 channels")


class DataFormat(Settings):
    """Base class of data formats: the settings of every data set, from which the gate checks model and split.

    Attributes:
        is_bundled: True if an installed package contains the images, so that every machine has them.
    """

    group: ClassVar[str] = "dataset"
    is_bundled: ClassVar[bool] = False

    name: Annotated[str, Field(pattern=r"\S", description="name of the data set, used in names of runs"), NAME]
    format: Annotated[str, Field(description="name of the data format")]
    image_shape: Annotated[Listing[int], Field(description="height, width, channels"), SHAPE]
    num_classes: Annotated[int, Field(ge=2, description="labels are 0 to num_classes - 1")]
    class_names: Annotated[Listing[str], Field(description="one per class, in label order")]
    has_official_test: Annotated[bool, Field(description="true: the data set has official test images")] = False
    has_groups: Annotated[
        bool, Field(description="true: the data set groups images that belong together, such as by writer")
    ] = False
    limit: Annotated[int | None, Field(description="number of images to use, stratified by class; null: all")] = None

    @model_validator(mode="after")
    def _declares_its_images(self) -> "DataFormat":
        shape = self.image_shape
        if not (len(shape) == 3 and min(shape) >= 1 and shape[2] in (1, 3)):
            raise expected(SHAPE.what, "dataset.image_shape", list(shape))
        if len(self.class_names) != self.num_classes:
            raise ConfigError(
                f"dataset.class_names: expected {self.num_classes} names, one per class, got {len(self.class_names)}"
            )
        if len(set(self.class_names)) != self.num_classes:
            raise expected("names that differ", "dataset.class_names", list(self.class_names))
        if self.limit is not None and self.limit < self.num_classes:
            least = f"{self.num_classes} or more, one image per class, or null"
            raise expected(least, "dataset.limit", self.limit)
        return self

    @property
    def is_local(self) -> bool:
        """True if files on this machine hold the data set, so that it can be read ahead."""
        return False

    def load(self) -> "Dataset":
        """Load the data set, checked and in canonical order; use `make_dataset` to make one from arrays.

        Raises:
            DataError: a file is missing or damaged, or does not match the config.
        """
        raise NotImplementedError

    def make_dataset(self, images: Any, labels: Any, is_test: Any = None, groups: Any = None) -> "Dataset":
        """A data set from arrays in any order.

        Args:
            images: (N, H, W), (N, H, W, C) or (N, pixels), whole numbers 0..255 or floats.
            labels: (N,) whole numbers from 0 or class names, or (N, K) one-hot.
            is_test: (N,) bool, True for test images; None: no official test images.
            groups: (N,), images with the same number or text belong together; None: no groups.

        Raises:
            DataError: another shape, no image, NaN, pixels or labels out of range, fewer images than `limit`.
        """
        import numpy as np

        from hcr.data.dataset import make_dataset

        return make_dataset(
            np.asarray(images),
            np.asarray(labels),
            None if is_test is None else np.asarray(is_test),
            self,
            f"dataset={self.name}",
            None if groups is None else np.asarray(groups),
        )


FORMATS = Parts(__name__, DataFormat, "hcr.formats", "load")
