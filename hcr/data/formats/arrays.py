"""Images and labels in one file of arrays, told by its content."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from hcr.config.settings import Count, expected
from hcr.data.formats import FileFormat

if TYPE_CHECKING:
    from hcr.data.raw import Raw


class Arrays(FileFormat):
    """A MATLAB v5 file or a NumPy archive (.npz), as the formats mat and npz read them; the content decides which."""

    train_images: Annotated[
        Count | None,
        Field(description="MATLAB file: number of training images, which come first; the rest is test"),
    ] = None

    @model_validator(mode="after")
    def _has_test_images(self) -> "Arrays":
        if self.train_images is not None and self.has_official_test is False:
            raise expected("null with has_official_test=false", "dataset.train_images", self.train_images)
        return self

    def read(self, path: Path) -> "Raw":
        from hcr.data.readers.array_files import read_arrays

        return read_arrays(path, self.train_images, self.image_shape)

    def sources(self, path: Path) -> list[Path]:
        from hcr.data.readers.array_files import sources_of

        return sources_of(path)
