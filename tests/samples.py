"""Small data sets that the tests write, in the files in which each data set of `conf/dataset` comes."""

import gzip
import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.io
from PIL import Image
from pyarrow import parquet

from hcr.data.formats import DataFormat

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]  # images (N, H, W) and labels (N,), by side


def small_arrays(num_classes: int, shape: Sequence[int], per_class: int = 20) -> Arrays:
    """Light noise on black in a frame of background, `per_class` images of each class for training, 2 for test."""
    rng = np.random.default_rng(0)
    sides = {}
    for side, count in (("train", per_class), ("test", 2)):
        images = np.zeros((count * num_classes, shape[0], shape[1]), np.uint8)
        images[:, 1:-1, 1:-1] = rng.integers(0, 256, (len(images), shape[0] - 2, shape[1] - 2))
        sides[side] = (images, np.arange(len(images)) % num_classes)
    return sides


def write_sample(cfg: DataFormat, folder: Path) -> Path:
    """Write a small data set of the classes and the shape that `cfg` declares, or of 3 classes and 8x8 pixels.

    Returns:
        What `dataset.path` names.
    """
    arrays = small_arrays(cfg.num_classes or 3, cfg.image_shape or (8, 8, 1))
    return WRITERS[cfg.format](folder, arrays, cfg)


def _csv(folder: Path, arrays: Arrays, cfg: DataFormat) -> Path:
    """With a header, as Kaggle has them; or as USPS, from -1 to 1 without one, in two files."""
    if cfg.pixels == "auto":
        path = folder / "letters.csv"
        images, labels = arrays["train"]
        rows = [",".join(map(str, [label, *image.ravel()])) for image, label in zip(images, labels, strict=True)]
        path.write_text("\n".join(["label," + ",".join(f"pixel{i}" for i in range(images[0].size)), *rows]))
        return path
    for side, (images, labels) in arrays.items():
        rows = [
            " ".join([f"{label:.4f}", *(f"{pixel / 127.5 - 1:.4f}" for pixel in image.ravel())])
            for image, label in zip(images, labels, strict=True)
        ]
        (folder / f"zip.{side}.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    return folder / "zip.train.gz"


def _folder(folder: Path, arrays: Arrays, _: DataFormat) -> Path:
    path = folder / "scans"
    for i, (image, label) in enumerate(zip(*arrays["train"], strict=True)):
        (path / "abc"[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path / "abc"[label] / f"{i}.png")
    return path


def _idx(folder: Path, arrays: Arrays, _: DataFormat) -> Path:
    for side, name in (("train", "train"), ("test", "t10k")):
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays[side], strict=True):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.astype("u1").tobytes()))
    return folder


def _mat(folder: Path, arrays: Arrays, cfg: DataFormat) -> Path:
    """mldata's variables; or EMNIST's structure, with a writer for each two images."""
    path = folder / "small.mat"
    if cfg.class_names is None:
        images, labels = arrays["train"]
        scipy.io.savemat(path, {"data": images.reshape(len(images), -1).T, "label": labels[np.newaxis] * 1.0})
        return path
    sides = {
        side: {
            "images": images.swapaxes(1, 2).reshape(len(images), -1),
            "labels": labels[:, np.newaxis] + 1.0,
            "writers": np.arange(len(labels))[:, np.newaxis] // 2 * 1.0,
        }
        for side, (images, labels) in arrays.items()
    }
    mapping = np.array([[i + 1, ord(name)] for i, name in enumerate(cfg.class_names)])
    scipy.io.savemat(path, {"dataset": sides | {"mapping": mapping}})
    return path


def _npz(folder: Path, arrays: Arrays, cfg: DataFormat) -> Path:
    """One archive; or one of `arr_0` for each array, as Kuzushiji's."""
    if cfg.name == "kmnist":
        for side, both in arrays.items():
            for kind, array in zip(("imgs", "labels"), both, strict=True):
                np.savez(folder / f"kmnist-{side}-{kind}.npz", array)
        return folder / "kmnist-train-imgs.npz"
    path = folder / "small.npz"
    images, labels = arrays["train"]
    if cfg.has_official_test:
        test_images, test_labels = arrays["test"]
        np.savez(path, x_train=images, y_train=labels, x_test=test_images, y_test=test_labels)
    elif cfg.has_groups:
        np.savez(path, x=images, y=labels, group=np.arange(len(labels)) // 3)
    else:
        np.savez(path, x=images, y=labels)
    return path


def _parquet(folder: Path, arrays: Arrays, _: DataFormat) -> Path:
    pictures: list[dict[str, Any]] = []
    for i, image in enumerate(arrays["train"][0]):
        content = io.BytesIO()
        Image.fromarray(image).save(content, "png")
        pictures.append({"bytes": content.getvalue(), "path": f"{i}.png"})
    path = folder / "small.parquet"
    parquet.write_table(pa.table({"image": pictures, "label": arrays["train"][1]}), path)
    return path


WRITERS: dict[str, Callable[[Path, Arrays, DataFormat], Path]] = {
    "arrays": _npz,
    "csv": _csv,
    "folder": _folder,
    "idx": _idx,
    "mat": _mat,
    "npz": _npz,
    "parquet": _parquet,
}
