"""The digits bundled with scikit-learn."""

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

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
    from sklearn.datasets import load_digits

    from hcr.data.dataset import assemble
    from hcr.data.raw import Raw, RawPart

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return assemble(Raw(parts=(RawPart(images=images, labels=digits.target),)), cfg, "scikit-learn's digits")
