"""A data set as a folder of arrays: what the cache keeps, and what a machine without the original file is sent."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hcr.data.dataset import Dataset

ARRAYS = ("images", "labels", "is_test", "is_val", "groups", "hashes", "sizes", "rows")
TUPLES = ("class_names", "source_shape", "notes")
REST = ("digest", "source", "source_channels", "preparation", *TUPLES)
JSON = "dataset.json"
SHAPES = "shapes"


def write_dataset(folder: Path, dataset: Dataset) -> None:
    """Write `dataset` to `folder` atomically; does nothing if another process was faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}-"))
    try:
        write_arrays(new, dataset)
        new.rename(folder)
    except OSError:
        shutil.rmtree(new, ignore_errors=True)
        if not folder.is_dir():
            raise


def write_arrays(folder: Path, dataset: Dataset) -> None:
    """Write the arrays of `dataset` into `folder`, but images that are there already, and then what describes them."""
    for name in ARRAYS:
        array = getattr(dataset, name)
        if array is not None and not (name == "images" and (folder / "images.npy").exists()):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    rest = {name: getattr(dataset, name) for name in REST}
    rest[SHAPES] = {name: array.shape for name in ARRAYS if (array := getattr(dataset, name)) is not None}
    (folder / JSON).write_text(json.dumps(rest), encoding="utf-8")


def read_dataset(folder: Path) -> Dataset:
    """The data set in `folder`; its arrays are memory-mapped, and so shared by all processes of the machine.

    Raises:
        OSError, EOFError, ValueError, KeyError, TypeError: it is incomplete or damaged.
    """
    rest = json.loads((folder / JSON).read_text(encoding="utf-8"))
    rest |= {name: None if rest[name] is None else tuple(rest[name]) for name in TUPLES}
    arrays: dict[str, Any] = dict.fromkeys(ARRAYS)
    for name, shape in rest.pop(SHAPES).items():
        mapped = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        if list(mapped.shape) != shape:
            raise ValueError(f"{name}.npy: expected the shape {shape}, got {mapped.shape}")
        arrays[name] = mapped.view(np.ndarray)
    return Dataset(**arrays, **rest)
