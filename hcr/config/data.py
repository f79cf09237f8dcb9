"""The typed config of images: data set and split."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hcr.config.errors import ConfigError
from hcr.config.schema import require


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """What every data set declares, so that a model can be refused before any image is read."""

    name: str
    format: str
    image_shape: tuple[int, ...]
    num_classes: int
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), "dataset.name", "a name", self.name)
        require(
            len(self.image_shape) == 3 and min(self.image_shape) >= 1,
            "dataset.image_shape",
            "[height, width, channels], each 1 or more",
            list(self.image_shape),
        )
        require(self.num_classes >= 2, "dataset.num_classes", "2 or more", self.num_classes)
        if len(self.class_names) != self.num_classes:
            raise ConfigError(
                f"dataset.class_names: expected {self.num_classes} names, one per class, got {len(self.class_names)}"
            )

        different = len(set(self.class_names)) == self.num_classes
        require(different, "dataset.class_names", "names that differ", list(self.class_names))

    @property
    def has_official_test(self) -> bool:
        """Whether the data set says itself which images are for test."""
        return False


@dataclass(frozen=True, kw_only=True)
class SklearnDigitsConfig(DatasetConfig):
    """The 1,797 digits that scikit-learn carries; there is nothing to set."""


@dataclass(frozen=True, kw_only=True)
class MatConfig(DatasetConfig):
    """A MATLAB v5 file that holds `data` (pixels x images, or the other way round) and `label`.

    The first `train_images` of its images are the official training set, the others the official test set;
    None where the file makes no such difference.
    """

    path: str | None
    file: str
    train_images: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            bool(self.file) and "/" not in self.file and "\\" not in self.file and self.file not in (".", ".."),
            "dataset.file",
            "a file name without folders (dataset.path takes a whole path)",
            self.file,
        )
        require(self.path != "", "dataset.path", "a path or null", self.path)
        if self.train_images is not None:
            require(self.train_images >= 1, "dataset.train_images", "1 or more, or null", self.train_images)

    @property
    def has_official_test(self) -> bool:
        return self.train_images is not None


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which images are for training, validation and test. Fractions are in (0, 1)."""

    name: str
    validation: float

    def __post_init__(self) -> None:
        require(0 < self.validation < 1, "split.validation", "a fraction in (0, 1)", self.validation)


@dataclass(frozen=True, kw_only=True)
class OfficialSplitConfig(SplitConfig):
    """Test is the data set's own; `validation` is a fraction of its training images."""


@dataclass(frozen=True, kw_only=True)
class StratifiedSplitConfig(SplitConfig):
    """`validation` and `test` are fractions of all images."""

    test: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.test < 1, "split.test", "a fraction in (0, 1)", self.test)
        total = self.validation + self.test
        if total >= 1:
            raise ConfigError(f"split.validation + split.test: expected less than 1, got {total:g}")


DATASETS: Mapping[str, type[DatasetConfig]] = MappingProxyType(
    {"sklearn_digits": SklearnDigitsConfig, "mat": MatConfig}
)
SPLITS: Mapping[str, type[SplitConfig]] = MappingProxyType(
    {"official": OfficialSplitConfig, "stratified": StratifiedSplitConfig}
)
