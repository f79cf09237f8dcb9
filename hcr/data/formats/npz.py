"""NumPy's files: archives of arrays, and single arrays."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hcr.data.formats import FileFormat

if TYPE_CHECKING:
    from hcr.data.raw import Raw


class Npz(FileFormat):
    """A NumPy archive (.npz) of images and labels, or a file for each of them (.npz or .npy), in one folder."""

    takes_folders: ClassVar[bool] = True

    def read(self, path: Path) -> "Raw":
        from hcr.data.readers.npzsets import read_npz_set

        return read_npz_set(path)

    def sources(self, path: Path) -> list[Path]:
        from hcr.data.readers.npzsets import find_npz_set

        return sorted(set(find_npz_set(path).files.values()))
