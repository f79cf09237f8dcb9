"""A file of arrays that is told by its content: a MATLAB v5 file, or a NumPy archive."""

from pathlib import Path

from hcr.config.errors import DataError
from hcr.data.files import start_of, what_it_is
from hcr.data.raw import Raw
from hcr.data.readers.matsets import MARK, read_mat_set
from hcr.data.readers.npzsets import ZIP, find_npz_set, read_npz_set


def read_arrays(path: Path, train_images: int | None = None, image_shape: tuple[int, ...] | None = None) -> Raw:
    """The data set in `path`; `train_images` and `image_shape` are for MATLAB files, as in `read_mat_set`.

    Raises:
        DataError: another kind of file, or a damaged one.
    """
    start = start_of(path)
    if start.startswith(ZIP):
        return read_npz_set(path)
    what = None if start.startswith(MARK) else what_it_is(start)
    if what is not None:
        raise DataError(f"{path}: expected a NumPy archive (.npz) or a MATLAB v5 file, got {what}")
    return read_mat_set(path, train_images, image_shape)


def sources_of(path: Path) -> list[Path]:
    """Every file that `read_arrays(path)` reads.

    Raises:
        DataError: as `read_arrays`.
    """
    if not start_of(path).startswith(ZIP):
        return [path]
    return sorted(set(find_npz_set(path).files.values()))
