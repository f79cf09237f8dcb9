"""A random split, stratified by class."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from hcr.config.errors import ConfigError
from hcr.data.splits import FractionOfImages, Seed, Split

if TYPE_CHECKING:
    from hcr.data.dataset import Dataset
    from hcr.data.splits import Indices


class Stratified(Split):
    """Draws test, then validation, at random and stratified by class.

    Test has its own seed: with the run's seed, the test images of one run would be training images of another.
    """

    validation: Annotated[FractionOfImages, Field(description="fraction of all images kept for validation")]
    test: Annotated[FractionOfImages, Field(description="fraction of all images kept for test")]
    test_seed: Annotated[Seed, Field(description="seed of the test draw: the same test for every run's seed")]

    @model_validator(mode="after")
    def _leaves_training_images(self) -> "Stratified":
        total = self.validation + self.test
        if total >= 1:
            raise ConfigError(f"split.validation + split.test: expected less than 1, got {total:g}")
        return self

    def draw(self, data: "Dataset", seed: int) -> "tuple[Indices, Indices, Indices]":
        import numpy as np

        from hcr.data.stratifying import TEST, VALIDATION, count_of, stratify

        total = len(data.labels)
        rest, test = stratify(data, np.arange(total), count_of(self.test, total), self.test_seed, TEST)
        train, val = stratify(data, rest, count_of(self.validation, total), seed, VALIDATION)
        return train, val, test
