"""MATLAB v5 files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from hcr.config.settings import Count, expected
from hcr.data.formats import FileFormat

if TYPE_CHECKING:
    from hcr.data.raw import Raw


class Mat(FileFormat):
    """A MATLAB v5 file with `data` and `label`, as mldata.org had them, or with EMNIST's structure `dataset`."""

    train_images: Annotated[
        Count | None,
        Field(description="of `data` and `label`: number of training images, which come first; the rest is test"),
    ] = None

    @model_validator(mode="after")
    def _has_test_images(self) -> "Mat":
        if self.train_images is not None and self.has_official_test is False:
            raise expected("null with has_official_test=false", "dataset.train_images", self.train_images)
        return self

    def read(self, path: Path) -> "Raw":
        from hcr.data.readers.matsets import read_mat_set

        return read_mat_set(path, self.train_images, self.image_shape)
