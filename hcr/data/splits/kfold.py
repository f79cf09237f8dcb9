"""One fold of a cross-validation."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from hcr.config.errors import ConfigError
from hcr.data.splits import FractionOfImages, Split, TestSeed

if TYPE_CHECKING:
    from hcr.data.dataset import Dataset
    from hcr.data.splits import Indices, Kept


class Kfold(Split):
    """One fold of a cross-validation: fold `fold` of what test leaves is validation, the other folds are training.

    Test is the official test set, or drawn as in stratified, or in grouped where there are groups: the same for every
    fold and seed. Folds are stratified by class, and keep groups together. The folds of one seed partition what test
    leaves; with `seed` null, each run's seed draws its own folds.
    """

    folds: Annotated[int, Field(ge=2, description="number of folds")]
    fold: Annotated[int, Field(ge=0, description="the fold for validation; -m split.fold=0,1,2,3,4 trains all five")]
    test: Annotated[
        FractionOfImages,
        Field(description="fraction of all images kept for test; not used where there are official test images"),
    ]
    test_seed: TestSeed

    @model_validator(mode="after")
    def _is_one_of_the_folds(self) -> "Kfold":
        if self.fold >= self.folds:
            raise ConfigError(
                f"split.fold: expected 0 to {self.folds - 1}, as split.folds is {self.folds}, got {self.fold}"
            )
        return self

    def draw(self, data: "Dataset", seed: int, kept: "Kept | None" = None) -> "tuple[Indices, Indices, Indices]":
        import numpy as np

        from hcr.data.folds import fold_of

        rest, test = self._without_test(data, kept)
        fold = fold_of(data, rest, self.folds, seed, kept=kept)
        return rest[fold != self.fold], rest[fold == self.fold], np.sort(test)

    def _without_test(self, data: "Dataset", kept: "Kept | None") -> "tuple[Indices, Indices]":
        """The images that the folds partition, and those of test."""
        import numpy as np

        from hcr.data.groups import draw_groups
        from hcr.data.stratifying import count_of, stratify

        if data.is_test is not None:
            return np.flatnonzero(~data.is_test), np.flatnonzero(data.is_test)
        total, everything = len(data.labels), np.arange(len(data.labels))
        if data.groups is not None:
            return draw_groups(everything, data.labels, data.groups, self.test, self.test_seed, num_left=self.folds)
        count, sides = count_of(self.test, total), f"test and {self.folds} folds"
        return stratify(data, everything, count, self.test_seed, sides, kept=kept, num_left=self.folds)
