"""The formats that images come in: one reader each, chosen by the type of the data set's config."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import platformdirs

from hcr.config.data import DatasetConfig, MatConfig, SklearnDigitsConfig
from hcr.config.errors import DataError, one_line
from hcr.data.dataset import Dataset, make_dataset


def load_dataset(cfg: DatasetConfig) -> Dataset:
    """The data set that `cfg` describes, checked and in canonical order.

    Raises:
        DataError: a file that is absent, damaged or not what `cfg` says.
    """
    reader = SOURCES.get(type(cfg))
    if reader is not None:
        return reader(cfg)
    try:
        images, labels, is_test = cfg.load()  # type: ignore[attr-defined]  # an installed package's
    except Exception as error:  # somebody else's code: any failure of it is a failure to read the data
        raise DataError(f"dataset={cfg.name}: {type(error).__name__}: {one_line(error)}") from error
    return make_dataset(np.asarray(images), np.asarray(labels), is_test, cfg, f"dataset={cfg.name}")


def find_file(cfg: MatConfig) -> Path:
    """`dataset.path` if given, else `dataset.file` under HCR_DATA_DIR, else in the user's cache.

    Raises:
        DataError: it is in none of them; the message says where to put which file.
    """
    if cfg.path is not None:
        path = Path(cfg.path).expanduser()
        if path.is_file():
            return path
        raise DataError(f"dataset.path: expected a file, and {str(path)!r} is none")
    folders = [Path(os.environ["HCR_DATA_DIR"])] if os.environ.get("HCR_DATA_DIR") else []
    folders.append(platformdirs.user_cache_path("hcr"))
    for folder in folders:
        if (folder / cfg.file).is_file():
            return folder / cfg.file
    places = " or ".join(str(folder) for folder in folders)
    raise DataError(
        f"dataset={cfg.name}: {cfg.file} not found; put it into {places}, or name it with dataset.path=FILE"
        " (dataset=digits needs no file)"
    )


def load_sklearn_digits(cfg: SklearnDigitsConfig) -> Dataset:
    """The 1,797 8x8 digits of scikit-learn, whose 17 grey levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return make_dataset(images, digits.target, None, cfg, "scikit-learn's digits")


def load_mat(cfg: MatConfig) -> Dataset:
    """A MATLAB v5 file with `data`, an image a column or an image a row, and `label`; compressed or not.

    Source:
        The layout of mldata.org's "MNIST original": data (784, 70000) uint8, label (1, 70000) float64.
    """
    path = find_file(cfg)
    data, labels = _read_mat(path)
    num_pixels = int(np.prod(cfg.image_shape))
    if data.shape == (num_pixels, len(labels)):
        data = data.T
    elif data.shape != (len(labels), num_pixels):
        raise DataError(
            f"{path}: expected `data` of {num_pixels} pixels x {len(labels)} labelled images, got {data.shape}"
        )
    # MATLAB keeps pixels column by column, but this layout was written row by row: no transposition here.
    images = data.reshape(len(labels), *cfg.image_shape)
    is_test = None
    if cfg.train_images is not None:
        if cfg.train_images >= len(labels):
            raise DataError(
                f"{path}: expected more than {cfg.train_images} images (dataset.train_images, then the test images),"
                f" got {len(labels)}"
            )
        is_test = np.arange(len(labels)) >= cfg.train_images
    return make_dataset(images, labels, is_test, cfg, str(path))


def _read_mat(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """`data` (2-D) and `label` (1-D) of a MATLAB file."""
    from scipy.io import loadmat

    try:
        arrays = loadmat(path, variable_names=["data", "label"])
    except Exception as error:  # a damaged file fails in a dozen ways in SciPy; each of them means the same
        raise DataError(f"{path}: not a readable MATLAB v5 file, or cut short ({one_line(error)})") from error
    for name in ("data", "label"):
        if not isinstance(arrays.get(name), np.ndarray):
            raise DataError(f"{path}: expected the arrays `data` and `label`, and there is no `{name}`")
    data, label = arrays["data"], arrays["label"]
    if data.ndim != 2 or data.dtype.kind not in "uifb":
        raise DataError(f"{path}: expected `data` to be a table of numbers, got {data.dtype} of shape {data.shape}")
    return data, label.ravel()


SOURCES: Mapping[type[DatasetConfig], Callable[[Any], Dataset]] = MappingProxyType(
    {SklearnDigitsConfig: load_sklearn_digits, MatConfig: load_mat}
)
