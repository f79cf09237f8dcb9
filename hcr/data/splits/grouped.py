"""A random split that keeps groups together."""

from typing import TYPE_CHECKING

from hcr.config.errors import ConfigError
from hcr.data.splits.stratified import Stratified

if TYPE_CHECKING:
    from hcr.data.dataset import Dataset
    from hcr.data.formats import DataFormat
    from hcr.data.splits import Indices, Kept


class Grouped(Stratified):
    """Like stratified, but images of a group (a writer, a word) stay in one part.

    Fractions are met as closely as whole groups allow.
    """

    def check_dataset(self, dataset: "DataFormat") -> None:
        if dataset.has_groups is False:
            raise ConfigError(
                "split.name: expected a data set whose images are in groups (dataset.has_groups);"
                f" {dataset.name!r} has none; name them (dataset.group), or use split=stratified"
            )

    def draw(self, data: "Dataset", seed: int, kept: "Kept | None" = None) -> "tuple[Indices, Indices, Indices]":
        import numpy as np

        from hcr.data.groups import draw_groups

        assert data.groups is not None  # the gate refuses this split of a data set without groups
        if data.is_val is not None and data.is_test is None:  # validation is the official one
            pool = np.flatnonzero(~data.is_val)
            train, test = draw_groups(pool, data.labels, data.groups, self.test, self.test_seed)
            return train, np.flatnonzero(data.is_val), test
        everything = np.arange(len(data.labels))
        rest, test = draw_groups(everything, data.labels, data.groups, self.test, self.test_seed, num_left=2)
        train, val = draw_groups(rest, data.labels, data.groups, self.validation / (1 - self.test), seed)
        return train, val, test
