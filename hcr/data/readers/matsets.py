"""Data sets in MATLAB v5 files: mldata's `data` and `label`, and EMNIST's structure `dataset`."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError, one_line
from hcr.data.files import start_of, what_it_is
from hcr.data.memory import most_bytes
from hcr.data.raw import Raw, RawPart, Side
from hcr.data.readers.classcodes import Codes, class_names_of, codes_of, indices_of
from hcr.data.readers.matfile import DamagedMat, MatError, list_mat, read_mat
from hcr.data.readers.pairing import listed, shown

Array = NDArray[Any]

PLAIN = ("data", "label")
SIDES: tuple[Side, ...] = ("train", "test")
MAPPING = "dataset.mapping"
FIELDS = ("images", "labels", "writers")
MARK = b"MATLAB 5"


def read_mat_set(path: Path, train_images: int | None = None, image_shape: tuple[int, ...] | None = None) -> Raw:
    """The data set in the MATLAB file `path`.

    Args:
        train_images: how many images of mldata's layout are for training, which come first; None: no official test.
        image_shape: height, width, channels, if declared.

    Raises:
        DataError: the file is damaged, or has neither layout.
    """
    start = start_of(path)
    what = None if start.startswith(MARK) else what_it_is(start)
    if what is not None:
        raise DataError(f"{path}: expected a MATLAB v5 file, got {what}")
    names = (*PLAIN, MAPPING, *(f"dataset.{side}.{field}" for side in SIDES for field in FIELDS))
    try:
        arrays = read_mat(path, names, most_bytes())
        is_emnist = any(name.startswith("dataset.") for name in arrays) and not set(PLAIN) & set(arrays)
        has_all = is_emnist or all(name in arrays for name in PLAIN)
        inside = {} if has_all else list_mat(path, most_bytes())
    except (DamagedMat, OSError) as error:
        raise DataError(
            f"{path}: neither a readable MATLAB v5 file nor a NumPy .npz; it may be cut short ({one_line(error)})"
        ) from error
    except MatError as error:
        raise DataError(f"{path}: {error}") from error
    if is_emnist:
        if train_images is not None:
            raise DataError(
                f"{path}: expected `data` and `label` (dataset.train_images: {train_images}), got EMNIST's layout,"
                " which has its own test images; set dataset.train_images=null"
            )
        return _of_emnist(path, arrays)
    if not has_all:
        missing = next(name for name in PLAIN if name not in arrays)
        texts = (f"{shown(name)} {what}" for name, what in inside.items())
        raise DataError(
            f"{path}: expected the arrays `data` and `label`, but there is no `{missing}`;"
            f" got {listed(texts, 'no array')};"
            " save them in MATLAB with save('x.mat', 'data', 'label', '-v7')"
        )
    return _of_mldata(path, arrays["data"], arrays["label"], train_images, image_shape)


def _of_mldata(
    path: Path, data: Array, labels: Array, train_images: int | None, image_shape: tuple[int, ...] | None
) -> Raw:
    """A data set of `data`, one image per column or per row, and `label`.

    Source:
        The layout of mldata.org's "MNIST original": data (784, 70000) uint8, label (1, 70000) float64.
    """
    if data.ndim != 2:
        raise DataError(
            f"{path}: expected `data` to be a table of numbers, one image per row, got {data.dtype} of shape"
            f" {data.shape}"
        )
    labels = labels.reshape(-1) if 1 in labels.shape else labels  # else one-hot: one row per image
    num_images = len(labels)
    num_pixels = None if image_shape is None else math.prod(image_shape)
    notes: tuple[str, ...] = ()
    if data.shape[1] == num_images and num_pixels in (None, data.shape[0]):
        if data.shape[0] == num_images:
            notes = (f"{path}: `data` has as many rows as columns; each column was taken as an image",)
        data = data.T
    elif data.shape[0] != num_images or num_pixels not in (None, data.shape[1]):
        pixels = "one row or column" if num_pixels is None else f"{num_pixels} pixels (dataset.image_shape)"
        link = "for each of" if num_pixels is None else "x"
        raise DataError(
            f"{path}: expected `data` of {pixels} {link} {num_images} images (one per `label`), got {data.shape}"
        )
    # MATLAB stores images column by column, but this layout was written row by row, so do not transpose.
    images = data if image_shape is None else data.reshape(num_images, *image_shape)
    if train_images is None:
        return Raw(parts=(RawPart(images=images, labels=labels, names=PLAIN),), notes=notes)
    if train_images >= num_images:
        raise DataError(
            f"{path}: expected more than {train_images} images (dataset.train_images, and the test images),"
            f" got {num_images}"
        )
    train, test = slice(None, train_images), slice(train_images, None)
    parts = (
        RawPart(images=images[train], labels=labels[train], names=PLAIN),
        RawPart(images=images[test], labels=labels[test], side="test", names=PLAIN),
    )
    return Raw(parts=parts, notes=notes)


def _of_emnist(path: Path, arrays: dict[str, Array]) -> Raw:
    """A data set of EMNIST's structure: `train` and `test`, each with `images`, `labels`, `writers`, and `mapping`.

    Images are put upright. Writers are groups under their own numbers, so that the images of a writer who is in both
    `train` and `test` stay together in a split that ignores the official one.

    Source:
        G. Cohen et al. 2017, "EMNIST: an extension of MNIST to handwritten letters", and its read-me file: images (N,
        784) uint8, each column by column; labels and writers (N, 1); mapping (K, 2 or 3), a label and its codes.
    """
    sides = [side for side in SIDES if any(f"dataset.{side}.{field}" in arrays for field in FIELDS)]
    needed = [f"dataset.{side}.{field}" for side in {"train", *sides} for field in FIELDS[:2]]
    missing = sorted(set(needed) - set(arrays))
    if missing:
        raise DataError(
            f"{path}: expected {listed(map(shown, sorted(needed)), '')}, but there is no {shown(missing[0])};"
            f" got {listed(map(shown, arrays), '')}"
        )
    codes = None if MAPPING not in arrays else _codes(arrays[MAPPING], path)
    writers = [f"dataset.{side}.writers" in arrays for side in sides]
    if any(writers) and not all(writers):
        raise DataError(f"{path}: expected `writers` in both `dataset.train` and `dataset.test`, or in neither")
    parts = []
    for side in sides:
        images, labels = arrays[f"dataset.{side}.images"], arrays[f"dataset.{side}.labels"].reshape(-1)
        height = math.isqrt(images.shape[1])
        if images.ndim != 2 or height * height != images.shape[1]:
            raise DataError(
                f"{path}: expected `dataset.{side}.images` of one square image per row, got shape {images.shape}"
            )
        parts.append(
            RawPart(
                images=images.reshape(len(images), height, height).swapaxes(1, 2),
                labels=labels if codes is None else indices_of(labels, codes, str(path)),
                groups=arrays[f"dataset.{side}.writers"].reshape(-1) if any(writers) else None,
                side=side,
                names=(f"dataset.{side}.images", f"dataset.{side}.labels"),
            )
        )
    return Raw(
        parts=tuple(parts),
        class_names=None if codes is None else class_names_of(codes),
        notes=(f"{path}: its images are stored column by column (as EMNIST's are) and were put upright",),
    )


def _codes(mapping: Array, path: Path) -> Codes:
    if mapping.ndim != 2 or not np.isfinite(mapping).all() or (mapping != np.floor(mapping)).any():
        raise DataError(f"{path}: expected `{MAPPING}` of whole numbers, a label and its character codes in each row")
    return codes_of([[int(number) for number in row] for row in mapping.tolist()], str(path))
