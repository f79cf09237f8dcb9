"""Images and labels in one file of arrays, told by its content."""

from pathlib import Path
from typing import TYPE_CHECKING

from hcr.data.formats.mat import Mat

if TYPE_CHECKING:
    from hcr.data.raw import Raw


class Arrays(Mat):
    """A MATLAB v5 file or a NumPy archive (.npz), as the formats mat and npz read them; the content decides which."""

    def read(self, path: Path) -> "Raw":
        from hcr.data.readers.array_files import read_arrays

        return read_arrays(path, self.train_images, self.image_shape)

    def sources(self, path: Path) -> list[Path]:
        from hcr.data.readers.array_files import sources_of

        return sources_of(path)
