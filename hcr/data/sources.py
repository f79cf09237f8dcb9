"""The formats that images come in: one reader each, chosen by the type of the data set's config."""

import contextlib
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.data import ArraysConfig, DatasetConfig, SklearnDigitsConfig
from hcr.config.errors import DataError, one_line
from hcr.data.dataset import Dataset, make_dataset
from hcr.data.files import find_file, local_file
from hcr.data.matfile import MatError, read_mat

Array = NDArray[Any]

# What a NumPy archive may hold: names of arrays that go together.
WITH_TEST = ("x_train", "y_train", "x_test", "y_test")
ONE_SET = ("x", "y")
GROUP = "group"


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


@lru_cache(maxsize=1)  # as for files
def load_sklearn_digits(cfg: SklearnDigitsConfig) -> Dataset:
    """The 1,797 8x8 digits of scikit-learn, whose 17 grey levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return make_dataset(images, digits.target, None, cfg, "scikit-learn's digits")


def load_arrays(cfg: ArraysConfig) -> Dataset:
    """A MATLAB v5 file or a NumPy archive, told apart by what is in it, not by its name."""
    path = find_file(cfg)
    try:
        written = path.stat()
        with path.open("rb") as file:
            signature = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return _load_arrays(path, cfg, signature[:2] == b"PK", (written.st_mtime_ns, written.st_size))


def read_ahead(cfg: DatasetConfig) -> None:
    """Read a file that is on this machine before it is needed; what is wrong with it is told when it is."""
    if isinstance(cfg, ArraysConfig) and local_file(cfg) is not None:
        with contextlib.suppress(DataError):
            load_arrays(cfg)


@lru_cache(maxsize=1)  # runs that follow one another in a process read, check and digest one data set once
def _load_arrays(path: Path, cfg: ArraysConfig, is_npz: bool, _: tuple[int, int]) -> Dataset:
    return load_npz(path, cfg) if is_npz else load_mat(path, cfg)


def load_npz(path: Path, cfg: ArraysConfig) -> Dataset:
    """A NumPy archive with `x_train y_train x_test y_test`, or with `x y` and, where images are in groups, `group`.

    Images are (N, H, W) or (N, H, W, C), labels (N,). Nothing in it is unpickled, so it cannot run code.

    Source:
        The first layout is that of Keras' mnist.npz.
    """
    arrays = _read_npz(path)
    if all(name in arrays for name in WITH_TEST):
        _check_declared(path, cfg, has_official_test=True, has_groups=False)
        x_train, y_train, x_test, y_test = (arrays[name] for name in WITH_TEST)
        for x, y in (("x_train", "y_train"), ("x_test", "y_test")):
            if arrays[x].ndim < 3 or arrays[x].shape[:1] != arrays[y].shape:
                raise DataError(
                    f"{path}: expected images and a label for each, got `{x}` of shape {arrays[x].shape}"
                    f" and `{y}` of shape {arrays[y].shape}"
                )
        if x_train.shape[1:] != x_test.shape[1:]:
            raise DataError(
                f"{path}: expected images of one shape, got `x_train` {x_train.shape} and `x_test` {x_test.shape}"
            )
        is_test = np.arange(len(x_train) + len(x_test)) >= len(x_train)
        images, labels = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
        return make_dataset(images, labels, is_test, cfg, str(path))
    if all(name in arrays for name in ONE_SET):
        _check_declared(path, cfg, has_official_test=False, has_groups=GROUP in arrays)
        return make_dataset(arrays["x"], arrays["y"], None, cfg, str(path), arrays.get(GROUP))
    raise DataError(
        f"{path}: expected the arrays {' '.join(WITH_TEST)}, or {' '.join(ONE_SET)} and perhaps {GROUP};"
        f" got {' '.join(arrays) or 'none of them'}"
    )


def load_mat(path: Path, cfg: ArraysConfig) -> Dataset:
    """A MATLAB v5 file with `data`, an image a column or an image a row, and `label`; compressed or not.

    Source:
        The layout of mldata.org's "MNIST original": data (784, 70000) uint8, label (1, 70000) float64.
    """
    data, labels = _read_mat(path)
    _check_declared(path, cfg, has_official_test=cfg.train_images is not None, has_groups=False)
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


def _check_declared(path: Path, cfg: ArraysConfig, *, has_official_test: bool, has_groups: bool) -> None:
    """Splits were refused or accepted by what the config declares, so it has to be what the file has."""
    for key, has, what in (
        ("has_official_test", has_official_test, "test images of its own"),
        ("has_groups", has_groups, "groups"),
    ):
        declared = getattr(cfg, key)
        if declared != has:
            hint = ", or in a MATLAB file dataset.train_images" if key == "has_official_test" else ""
            raise DataError(
                f"{path}: expected {what if declared else 'no ' + what} (dataset.{key}: {str(declared).lower()}{hint}),"
                f" and the file has {what if has else 'none'}"
            )


def _read_npz(path: Path) -> dict[str, Array]:
    """The known arrays of a NumPy archive."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            known = [name for name in (*WITH_TEST, *ONE_SET, GROUP) if name in archive.files]
            entries = [entry for entry in archive.zip.infolist() if entry.filename.removesuffix(".npy") in known]
            _check_memory(path, sum(entry.file_size for entry in entries))
            arrays = {name: np.asarray(archive[name]) for name in known}
    except DataError:
        raise
    except Exception as error:  # a damaged archive fails in a dozen ways; each of them means the same
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path}: expected arrays of numbers, got Python objects (which are not unpickled)"
            ) from None
        raise DataError(f"{path}: not a readable NumPy .npz file, or cut short ({one_line(error)})") from error
    for name, array in arrays.items():
        if array.dtype.kind not in "uifbUS":
            raise DataError(f"{path}: expected `{name}` to be an array of numbers, got {array.dtype}")
    return arrays


def _read_mat(path: Path) -> tuple[Array, Array]:
    """`data` (2-D) and `label` (1-D) of a MATLAB file."""
    try:
        arrays = read_mat(path, ("data", "label"), _most_bytes())
    except (MatError, OSError) as error:
        raise DataError(
            f"{path}: neither a readable MATLAB v5 file nor a NumPy .npz, or cut short ({one_line(error)})"
        ) from error
    for name in ("data", "label"):
        if name not in arrays:
            raise DataError(f"{path}: expected the arrays `data` and `label`, and there is no `{name}`")
    data, label = arrays["data"], arrays["label"]
    if data.ndim != 2 or data.dtype.kind not in "uifb":
        raise DataError(f"{path}: expected `data` to be a table of numbers, got {data.dtype} of shape {data.shape}")
    return data, label.ravel()


def _check_memory(path: Path, size_bytes: int) -> None:
    """Refuse a file that would unpack to more than half of the machine's memory."""
    if size_bytes > _most_bytes():
        raise DataError(
            f"{path}: expected a data set that fits into memory ({_most_bytes() / 2**30:.0f} GiB), and its arrays"
            f" unpack to {size_bytes / 2**30:,.0f} GiB"
        )


def _most_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


SOURCES: Mapping[type[DatasetConfig], Callable[[Any], Dataset]] = MappingProxyType(
    {SklearnDigitsConfig: load_sklearn_digits, ArraysConfig: load_arrays}
)
