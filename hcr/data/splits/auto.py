"""The split that suits the data set."""

from typing import TYPE_CHECKING

from hcr.data.splits import Split
from hcr.data.splits.grouped import Grouped
from hcr.data.splits.official import Official
from hcr.data.splits.stratified import Stratified

if TYPE_CHECKING:
    from hcr.data.dataset import Dataset
    from hcr.data.formats import DataFormat
    from hcr.data.splits import Indices, Kept


class Auto(Stratified):
    """official if the data set has official test images, else grouped if it has groups, else stratified."""

    def resolved(self, dataset: "DataFormat") -> Split:
        """The split to use and record for a data set whose `has_official_test` and `has_groups` are known."""
        return self._suited(bool(dataset.has_official_test), bool(dataset.has_groups))

    def draw(self, data: "Dataset", seed: int, kept: "Kept | None" = None) -> "tuple[Indices, Indices, Indices]":
        return self._suited(data.is_test is not None, data.groups is not None).draw(data, seed, kept)

    def _suited(self, has_official_test: bool, has_groups: bool) -> Split:
        if has_official_test:
            return Official(name="official", seed=self.seed, validation=self.validation)
        kind, name = (Grouped, "grouped") if has_groups else (Stratified, "stratified")
        return kind(name=name, seed=self.seed, validation=self.validation, test=self.test, test_seed=self.test_seed)
