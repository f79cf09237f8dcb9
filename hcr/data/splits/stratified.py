"""A random split, stratified by class."""

from typing import TYPE_CHECKING

from pydantic import model_validator

from hcr.config.errors import ConfigError
from hcr.data.splits import Split, TestOfAll, TestSeed, ValidationOfAll

if TYPE_CHECKING:
    from hcr.data.dataset import Dataset
    from hcr.data.splits import Indices, Kept


class Stratified(Split):
    """Draws test, then validation, at random and stratified by class; official validation images stay validation.

    Test has its own seed: with the run's seed, the test images of one run would be training images of another.
    """

    validation: ValidationOfAll
    test: TestOfAll
    test_seed: TestSeed

    @model_validator(mode="after")
    def _leaves_training_images(self) -> "Stratified":
        total = self.validation + self.test
        if total >= 1:
            raise ConfigError(f"split.validation + split.test: expected less than 1, got {total:g}")
        return self

    def draw(self, data: "Dataset", seed: int, kept: "Kept | None" = None) -> "tuple[Indices, Indices, Indices]":
        import numpy as np

        from hcr.data.stratifying import ALL_SIDES, VALIDATION, count_of, stratify

        total, everything = len(data.labels), np.arange(len(data.labels))
        if data.is_val is not None and data.is_test is None:  # validation is the official one
            pool = np.flatnonzero(~data.is_val)
            train, test = stratify(data, pool, count_of(self.test, len(pool)), self.test_seed, ALL_SIDES, kept=kept)
            return train, np.flatnonzero(data.is_val), test
        # A class leaves two images for the second draw.
        rest, test = stratify(
            data, everything, count_of(self.test, total), self.test_seed, ALL_SIDES, kept=kept, num_left=2
        )
        train, val = stratify(data, rest, count_of(self.validation, total), seed, VALIDATION, kept=kept)
        return train, val, test
