"""The digits bundled with scikit-learn."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from hcr.config.settings import expected
from hcr.data.formats import DataFormat

if TYPE_CHECKING:
    from hcr.data.dataset import Dataset


class Sklearn(DataFormat):
    """1,797 digits of 8x8 pixels, with grey levels 0..16 scaled to 0..255. They have no official test and no groups."""

    is_bundled: ClassVar[bool] = True

    @model_validator(mode="after")
    def _has_neither(self) -> "Sklearn":
        for key in ("has_official_test", "has_groups"):
            if getattr(self, key):
                raise expected("false, as these digits have none", f"dataset.{key}", True)
        return self

    def load(self) -> "Dataset":
        return _load(self)


@lru_cache(maxsize=1)  # successive runs in a process load it once
def _load(cfg: Sklearn) -> "Dataset":
    import numpy as np

    from hcr.data.dataset import assemble
    from hcr.data.raw import Raw, RawPart

    rows = _rows()
    images = np.rint(rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = rows[:, -1].astype(np.int64)
    return assemble(Raw(parts=(RawPart(images=images, labels=labels),)), cfg, "scikit-learn's digits")


def _rows() -> Any:
    """(N, 65): the 64 pixels of each digit, then its label.

    Read from scikit-learn's file: importing `sklearn.datasets` would take a second.
    """
    import numpy as np

    found = find_spec("sklearn")
    path = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz" if found and found.origin else None
    if path is not None and path.is_file():
        return np.loadtxt(path, delimiter=",")
    from sklearn.datasets import load_digits  # says that the package is missing, or knows where its file is by now

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])
