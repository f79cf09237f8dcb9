"""The typed config of images: data set and split."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hcr.config.addresses import split_address
from hcr.config.errors import ConfigError
from hcr.config.schema import require
from hcr.config.secrets import without_credentials


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """What every data set declares, so that a model or a split can be refused before any image is read.

    Attributes:
        image_shape: height, width, channels.
        class_names: one per class, in label order.
        has_official_test: whether it says itself which images are for test.
        has_groups: whether it says which images belong together, such as those of one writer.
        limit: keep so many images, each class in proportion; None: all.
    """

    name: str
    format: str
    image_shape: tuple[int, ...]
    num_classes: int
    class_names: tuple[str, ...]
    has_official_test: bool = False
    has_groups: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), "dataset.name", "a name", self.name)
        require(
            len(self.image_shape) == 3 and min(self.image_shape) >= 1 and self.image_shape[2] in (1, 3),
            "dataset.image_shape",
            "[height, width, channels], 1 or more, and 1 or 3 channels",
            list(self.image_shape),
        )
        require(self.num_classes >= 2, "dataset.num_classes", "2 or more", self.num_classes)
        if len(self.class_names) != self.num_classes:
            raise ConfigError(
                f"dataset.class_names: expected {self.num_classes} names, one per class, got {len(self.class_names)}"
            )

        different = len(set(self.class_names)) == self.num_classes
        require(different, "dataset.class_names", "names that differ", list(self.class_names))
        if self.limit is not None:
            least = f"{self.num_classes} or more, one image per class, or null"
            require(self.limit >= self.num_classes, "dataset.limit", least, self.limit)


@dataclass(frozen=True, kw_only=True)
class SklearnDigitsConfig(DatasetConfig):
    """The 1,797 digits that scikit-learn carries; there is nothing to set but `limit`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, value in (("has_official_test", self.has_official_test), ("has_groups", self.has_groups)):
            require(not value, f"dataset.{key}", "false, these digits come without", value)


@dataclass(frozen=True, kw_only=True)
class ArraysConfig(DatasetConfig):
    """Images and labels in one file: a MATLAB v5 file, or a NumPy archive (.npz).

    Attributes:
        path: the file; None looks for each of `files` in the usual places, then downloads `url`.
        files: its usual names; a download is kept under the one that `url` ends in, else under the last.
        url: where it can be downloaded, None: nowhere.
        sha256: of the file at `url`, in hex.
        train_images: in a MATLAB file, the first so many images are for training, the others for test.
    """

    path: str | None
    files: tuple[str, ...] = ()
    url: str | None = None
    sha256: str | None = None
    train_images: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.path != "", "dataset.path", "a path or null", self.path)
        for name in self.files:
            plain = bool(name) and "/" not in name and "\\" not in name and name not in (".", "..")
            require(plain, "dataset.files", "file names without folders (dataset.path takes a whole path)", name)
        if self.path is None:
            require(bool(self.files), "dataset.files", "at least one file name, or a dataset.path", list(self.files))
        self._check_download()
        if self.train_images is not None:
            require(self.train_images >= 1, "dataset.train_images", "1 or more, or null", self.train_images)
            require(
                self.has_official_test,
                "dataset.train_images",
                "null where has_official_test is false",
                self.train_images,
            )

    def _check_download(self) -> None:
        if self.url is None and self.sha256 is None:
            return
        if self.url is None or self.sha256 is None:
            absent = "url" if self.url is None else "sha256"
            raise ConfigError(f"dataset.{absent}: expected both dataset.url and dataset.sha256, or null for both")
        parts = split_address(self.url)
        is_web = re.fullmatch(r"https?://[^\s/]+/\S*", self.url) is not None
        if not is_web or parts is None or not parts.hostname or "@" in parts.netloc:
            raise ConfigError(
                "dataset.url: expected an address that starts with https:// or http://, without a user or a password,"
                f" got {without_credentials(self.url)!r}"
            )
        hexadecimal = re.fullmatch(r"[0-9a-f]{64}", self.sha256) is not None
        require(hexadecimal, "dataset.sha256", "64 hexadecimal digits, in lower case", self.sha256)
        require(bool(self.files), "dataset.files", "a file name, to keep the download under", list(self.files))


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
    """`validation` and `test` are fractions of all images.

    Test has a seed of its own: were it drawn by the run's, what is test for one seed would be learned by another.
    """

    test: float
    test_seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.test < 1, "split.test", "a fraction in (0, 1)", self.test)
        require(0 <= self.test_seed < 2**32, "split.test_seed", "an integer from 0 to 4294967295", self.test_seed)
        total = self.validation + self.test
        if total >= 1:
            raise ConfigError(f"split.validation + split.test: expected less than 1, got {total:g}")


@dataclass(frozen=True, kw_only=True)
class GroupedSplitConfig(StratifiedSplitConfig):
    """As stratified, but images of one group (a writer, a word) stay on one side."""


DATASETS: Mapping[str, type[DatasetConfig]] = MappingProxyType(
    {"sklearn_digits": SklearnDigitsConfig, "arrays": ArraysConfig}
)
SPLITS: Mapping[str, type[SplitConfig]] = MappingProxyType(
    {"official": OfficialSplitConfig, "stratified": StratifiedSplitConfig, "grouped": GroupedSplitConfig}
)
