"""A data set as a folder of arrays: what the cache keeps, and what a machine without the original file is sent."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hcr.data.dataset import Dataset

ARRAYS = ("images", "labels", "is_test", "is_val", "groups", "hashes", "sizes")
TUPLES = ("class_names", "source_shape", "notes")
REST = ("digest", "source", "source_channels", "preparation", *TUPLES)
JSON = "dataset.json"


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
    (folder / JSON).write_text(json.dumps(rest), encoding="utf-8")


def read_dataset(folder: Path) -> Dataset:
    """The data set in `folder`; its arrays are memory-mapped, and so shared by all processes of the machine.

    Raises:
        OSError, ValueError: it is incomplete.
    """
    rest = json.loads((folder / JSON).read_text(encoding="utf-8"))
    rest |= {name: None if rest[name] is None else tuple(rest[name]) for name in TUPLES}
    arrays: dict[str, Any] = {}
    for name in ARRAYS:
        path = folder / f"{name}.npy"
        mapped = np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None
        arrays[name] = None if mapped is None else mapped.view(np.ndarray)
    return Dataset(**arrays, **rest)
