"""A data set as a folder of arrays, for a machine without the original file."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from hcr.data.dataset import Dataset

ARRAYS = ("images", "labels", "is_test", "groups", "hashes")
REST = "dataset.json"


def write_dataset(folder: Path, dataset: Dataset) -> None:
    """Write `dataset` to `folder` atomically."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}-"))
    for name in ARRAYS:
        array = getattr(dataset, name)
        if array is not None:
            np.save(new / f"{name}.npy", array, allow_pickle=False)
    rest = {name: getattr(dataset, name) for name in ("digest", "class_names", "source", "note")}
    (new / REST).write_text(json.dumps(rest), encoding="utf-8")
    try:
        new.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(new)
        if not folder.is_dir():
            raise


def read_dataset(folder: Path) -> Dataset:
    """The data set in `folder`; its arrays are memory-mapped, and so shared by all processes of the machine."""
    paths = {name: folder / f"{name}.npy" for name in ARRAYS}
    arrays = {
        name: np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray) if path.exists() else None
        for name, path in paths.items()
    }
    rest = json.loads((folder / REST).read_text(encoding="utf-8"))
    return Dataset(**arrays, **rest | {"class_names": tuple(rest["class_names"])})  # type: ignore[arg-type]
