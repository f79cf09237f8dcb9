"""Files of arrays: MATLAB v5 files and NumPy archives."""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError, one_line
from hcr.config.text import printable
from hcr.data.dataset import Dataset, in_order
from hcr.data.files import find_file, what_it_is
from hcr.data.formats.arrays import Arrays
from hcr.data.labels import to_groups, to_labels
from hcr.data.matfile import HEADER_BYTES, DamagedMat, MatError, list_mat, read_mat
from hcr.data.npzfile import NpzError, list_npz, read_npz
from hcr.data.pixels import to_pixels

Array = NDArray[Any]

# Names of the arrays in a NumPy archive.
WITH_TEST = ("x_train", "y_train", "x_test", "y_test")
ONE_SET = ("x", "y")
GROUP = "group"
MOST_LISTED, LONGEST_NAME = 8, 40  # arrays in a message, and characters of a name


def load_arrays(cfg: Arrays) -> Dataset:
    """Load a MATLAB v5 file or a NumPy archive; the content decides which, not the name."""
    path = find_file(cfg)
    try:
        written = path.stat()
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    other = what_it_is(start)
    if other is not None:
        raise DataError(f"{path}: expected a NumPy archive (.npz) or a MATLAB v5 file, got {other}")
    return _load_arrays(path, cfg, start[:2] == b"PK", (written.st_mtime_ns, written.st_size))


@lru_cache(maxsize=1)  # successive runs in a process read, check and digest a data set once
def _load_arrays(path: Path, cfg: Arrays, is_npz: bool, _: tuple[int, int]) -> Dataset:
    return load_npz(path, cfg) if is_npz else load_mat(path, cfg)


def load_npz(path: Path, cfg: Arrays) -> Dataset:
    """Load a NumPy archive with `x_train y_train x_test y_test`, or with `x y` and optionally `group`.

    Images are as in `to_pixels`, labels as in `to_labels`. Nothing is unpickled, so the file cannot run code.

    Source:
        The first layout is that of Keras' mnist.npz.
    """
    arrays = _read_npz(path)
    if all(name in arrays for name in WITH_TEST):
        _check_declared(path, cfg, has_official_test=True, has_groups=False)
        return _of_arrays(path, cfg, arrays, WITH_TEST)
    if all(name in arrays for name in ONE_SET):
        _check_declared(path, cfg, has_official_test=False, has_groups=GROUP in arrays)
        return _of_arrays(path, cfg, arrays, ONE_SET)
    raise DataError(
        f"{path}: expected the arrays {' '.join(WITH_TEST)}, or {' '.join(ONE_SET)} and optionally {GROUP};"
        f" got {_listed(list_npz(path))}; save them with np.savez('x.npz', x=images, y=labels)"
    )


def _of_arrays(path: Path, cfg: Arrays, arrays: Mapping[str, Array], names: tuple[str, ...]) -> Dataset:
    """The data set of the arrays `names`, which alternate images and labels; the second pair is test."""
    source, pairs = str(path), dict(zip(names[::2], names[1::2], strict=True))
    parts, note = to_pixels({x: arrays[x] for x in pairs}, cfg, source)
    labels = [to_labels(arrays[y], len(part), cfg, source, y) for y, part in zip(pairs.values(), parts, strict=True)]
    if len(parts) > 1:
        images, is_test = np.concatenate(parts), np.repeat([False, True], [len(part) for part in parts])
        return in_order(images, np.concatenate(labels), is_test, cfg, source, note=note)
    groups = to_groups(arrays[GROUP], len(parts[0]), source) if GROUP in arrays else None
    return in_order(parts[0], labels[0], None, cfg, source, groups, note)


def _listed(arrays: Mapping[str, str]) -> str:
    """The arrays of a file, for a message; their names are untrusted."""
    texts = [f"{_shown(name)} {what}" for name, what in list(arrays.items())[:MOST_LISTED]]
    more = f" and {len(arrays) - MOST_LISTED} more" if len(arrays) > MOST_LISTED else ""
    return ", ".join(texts) + more if texts else "no array"


def _shown(name: str) -> str:
    """`name` for a message: printable, at most LONGEST_NAME characters."""
    plain = printable(name)
    return f"`{plain if len(plain) <= LONGEST_NAME else plain[:LONGEST_NAME] + '…'}`"


def load_mat(path: Path, cfg: Arrays) -> Dataset:
    """Load a MATLAB v5 file with `data`, one image per column or per row, and `label`; compressed or not.

    Source:
        The layout of mldata.org's "MNIST original": data (784, 70000) uint8, label (1, 70000) float64.
    """
    data, labels = _read_mat(path)
    _check_declared(path, cfg, has_official_test=cfg.train_images is not None, has_groups=False)
    num_pixels = int(np.prod(cfg.image_shape))
    num_images = labels.size if 1 in labels.shape else len(labels)  # one-hot: one row per image
    if data.shape == (num_pixels, num_images):
        data = data.T
    elif data.shape != (num_images, num_pixels):
        raise DataError(
            f"{path}: expected `data` of {num_pixels} pixels (dataset.image_shape) x {num_images} images (one per"
            f" `label`), got {data.shape}"
        )
    # MATLAB stores images column by column, but this layout was written row by row, so do not transpose.
    images = data.reshape(num_images, *cfg.image_shape)
    is_test = None
    if cfg.train_images is not None:
        if cfg.train_images >= num_images:
            raise DataError(
                f"{path}: expected more than {cfg.train_images} images (dataset.train_images, and the test images),"
                f" got {num_images}"
            )
        is_test = np.arange(num_images) >= cfg.train_images
    (pixels,), note = to_pixels({"data": images}, cfg, str(path))
    numbers = to_labels(labels, len(pixels), cfg, str(path), "label")
    return in_order(pixels, numbers, is_test, cfg, str(path), note=note)


def _check_declared(path: Path, cfg: Arrays, *, has_official_test: bool, has_groups: bool) -> None:
    """Refuse a file that does not match the config: the gate accepted the split by what the config declares."""
    for key, has, what in (
        ("has_official_test", has_official_test, "official test images"),
        ("has_groups", has_groups, "groups"),
    ):
        declared = getattr(cfg, key)
        if declared != has:
            hint = ", or in a MATLAB file dataset.train_images" if key == "has_official_test" else ""
            use = " (and split=official uses them)" if has and key == "has_official_test" else ""
            raise DataError(
                f"{path}: expected {what if declared else 'no ' + what} (dataset.{key}: {str(declared).lower()}{hint}),"
                f" but the file has {what if has else 'none'}; set dataset.{key}={str(has).lower()}{use}"
            )


def _read_npz(path: Path) -> dict[str, Array]:
    """The known arrays of a NumPy archive."""
    try:
        return read_npz(path, (*WITH_TEST, *ONE_SET, GROUP), _most_bytes())
    except NpzError as error:
        raise DataError(f"{path}: {error}") from error


def _read_mat(path: Path) -> tuple[Array, Array]:
    """`data` (2-D) and `label` of a MATLAB file."""
    try:
        arrays = read_mat(path, ("data", "label"), _most_bytes())
        missing = [name for name in ("data", "label") if name not in arrays]
        listed = _listed(list_mat(path, _most_bytes())) if missing else ""
    except (DamagedMat, OSError) as error:
        raise DataError(
            f"{path}: neither a readable MATLAB v5 file nor a NumPy .npz; it may be cut short ({one_line(error)})"
        ) from error
    except MatError as error:
        raise DataError(f"{path}: {error}") from error
    if missing:
        raise DataError(
            f"{path}: expected the arrays `data` and `label`, but there is no `{missing[0]}`; got {listed};"
            " save them in MATLAB with save('x.mat', 'data', 'label', '-v7')"
        )
    data, label = arrays["data"], arrays["label"]
    if data.ndim != 2:
        raise DataError(
            f"{path}: expected `data` to be a table of numbers, one image per row, got {data.dtype} of shape"
            f" {data.shape}"
        )
    return data, label


def _most_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
