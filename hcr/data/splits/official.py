"""The official split of a data set."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hcr.config.errors import ConfigError
from hcr.data.splits import FractionOfImages, Split

if TYPE_CHECKING:
    from hcr.data.dataset import Dataset
    from hcr.data.formats import DataFormat
    from hcr.data.splits import Indices, Kept


class Official(Split):
    """Test is the official test set; validation is the official one, or drawn from the training images.

    It is drawn by class, or by group where there are groups.
    """

    validation: Annotated[
        FractionOfImages, Field(description="fraction of the official training images kept for validation")
    ]

    def check_dataset(self, dataset: "DataFormat") -> None:
        if dataset.has_official_test is False:
            raise ConfigError(
                f"split.name: expected a data set with official test images; {dataset.name!r} has none;"
                " use split=stratified"
            )

    def draw(self, data: "Dataset", seed: int, kept: "Kept | None" = None) -> "tuple[Indices, Indices, Indices]":
        import numpy as np

        from hcr.data.groups import draw_groups
        from hcr.data.stratifying import VALIDATION, count_of, stratify

        assert data.is_test is not None  # the gate refuses this split of a data set without test images
        test = np.flatnonzero(data.is_test)
        if data.is_val is not None:
            return np.flatnonzero(~data.is_test & ~data.is_val), np.flatnonzero(data.is_val), test
        official = np.flatnonzero(~data.is_test)
        if data.groups is not None:
            train, val = draw_groups(official, data.labels, data.groups, self.validation, seed)
            return train, val, test
        train, val = stratify(data, official, count_of(self.validation, len(official)), seed, VALIDATION, kept=kept)
        return train, val, np.flatnonzero(data.is_test)
