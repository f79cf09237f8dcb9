"""Data formats, one per module: a class that declares a data set's settings and reads it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hcr.config.addresses import split_address
from hcr.config.errors import ConfigError
from hcr.config.parts import Parts
from hcr.config.secrets import without_credentials
from hcr.config.settings import Count, Listing, Settings, expected
from hcr.config.words import Expected

if TYPE_CHECKING:
    from hcr.data.dataset import Dataset
    from hcr.data.raw import Raw

NAME = Expected("a name")
SHAPE = Expected("[height, width, channels], 1 or more, and 1 or 3 channels, or null")
SIZE = Expected("[height, width], 1 to 1024 each, or null")
LARGEST = 1024  # pixels of a side of a prepared image

PixelRule = Literal["auto", "0..255", "0..1", "-1..1", "0..65535"]


def with_switch(value: object) -> object:
    """YAML reads true and false as booleans; the setting's choices are words."""
    return str(value).lower() if isinstance(value, bool) else value


class DataFormat(Settings):
    """Base class of data formats: the settings of every data set, from which the gate checks model and split.

    What is null is read from the data before TensorFlow is imported, and recorded.

    Attributes:
        is_bundled: True if an installed package contains the images, so that every machine has them.
    """

    group: ClassVar[str] = "dataset"
    is_bundled: ClassVar[bool] = False

    name: Annotated[str, Field(pattern=r"\S", description="name of the data set, used in names of runs"), NAME]
    format: Annotated[str, Field(description="name of the data format")]
    image_shape: Annotated[
        Listing[int] | None,
        SHAPE,
        Field(description="height, width, channels of the images as they are; null: those of the data"),
    ] = None
    num_classes: Annotated[
        Annotated[int, Field(ge=2)] | None,
        Field(description="labels are 0 to num_classes - 1; null: as many as the data has"),
    ] = None
    class_names: Annotated[
        Listing[str] | None, Field(description="one per class, in label order; null: the labels of the data, sorted")
    ] = None
    has_official_test: Annotated[
        bool | None, Field(description="true: the data set has official test images; null: as the data has it")
    ] = None
    has_groups: Annotated[
        bool | None,
        Field(
            description="true: the data set groups images that belong together, such as by writer; null: as in the data"
        ),
    ] = None
    limit: Annotated[int | None, Field(description="number of images to use, stratified by class; null: all")] = None
    pixels: Annotated[
        PixelRule, Field(description="scale of the stored pixels, black to white; auto: recognised, or refused")
    ] = "auto"
    invert: Annotated[
        Literal["auto", "true", "false"],
        BeforeValidator(with_switch),
        Field(description="true: ink is dark on light, so invert; auto: if most border pixels are bright"),
    ] = "auto"
    image_size: Annotated[
        Listing[int] | None, SIZE, Field(description="height, width to prepare images to; null: as they are")
    ] = None
    fit: Annotated[
        Literal["stretch", "pad", "center_of_mass"],
        Field(description="how images become image_size; center_of_mass: ink box and centre as in MNIST"),
    ] = "pad"
    color: Annotated[
        Literal["gray", "rgb"] | None, Field(description="channels to prepare images to; null: those of the data")
    ] = None
    classes: Annotated[
        Listing[str] | None, Field(description="names of the classes to use, in label order; null: all")
    ] = None
    min_per_class: Annotated[Count, Field(description="classes with fewer images are left out")] = 1
    made_as: Annotated[
        Literal["mnist", "digits"] | None,
        Field(description="how the set's makers prepared its images, as photos are for prediction; null: not known"),
    ] = None

    @model_validator(mode="after")
    def _declares_its_images(self) -> "DataFormat":
        shape, size, names = self.image_shape, self.image_size, self.class_names
        if shape is not None and not (len(shape) == 3 and min(shape) >= 1 and shape[2] in (1, 3)):
            raise expected(SHAPE.what, "dataset.image_shape", list(shape))
        if size is not None and not (len(size) == 2 and min(size) >= 1 and max(size) <= LARGEST):
            raise expected(SIZE.what, "dataset.image_size", list(size))
        if names is not None and self.num_classes is not None and len(names) != self.num_classes:
            raise ConfigError(
                f"dataset.class_names: expected {self.num_classes} names, one per class, got {len(names)}"
            )
        if names is not None and (len(set(names)) != len(names) or len(names) < 2):
            raise expected("2 or more names that differ", "dataset.class_names", list(names))
        if self.classes is not None:
            self._check_classes(self.classes)
        least = self.num_classes or (2 if names is None else len(names))
        if self.limit is not None and self.limit < least:
            raise expected(f"{least} or more, one image per class, or null", "dataset.limit", self.limit)
        return self

    def _check_classes(self, classes: tuple[str, ...]) -> None:
        if len(set(classes)) != len(classes) or len(classes) < 2:
            raise expected("2 or more names that differ, or null", "dataset.classes", list(classes))
        strangers = [name for name in classes if self.class_names is not None and name not in self.class_names]
        if strangers:
            raise ConfigError(f"dataset.classes: expected names of dataset.class_names, got {strangers[0]!r}")

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """Height, width, channels of the prepared images, which a model gets; None until the data is read."""
        size, shape = self.image_size, self.image_shape
        if shape is None and (size is None or self.color is None):
            return None
        height, width = size or (shape or ())[:2]
        channels = (shape or ())[2] if self.color is None else {"gray": 1, "rgb": 3}[self.color]
        return height, width, channels

    @property
    def kept_classes(self) -> tuple[str, ...] | None:
        """Names of the classes that a model tells apart, in label order; None until the data is read."""
        return self.classes or self.class_names

    @property
    def is_local(self) -> bool:
        """True if files on this machine hold the data set, so that it can be read ahead."""
        return False

    def load(self) -> "Dataset":
        """Load the data set, checked, prepared and in canonical order; use `make_dataset` to make one from arrays.

        Raises:
            DataError: a file is missing or damaged, or does not match the config.
        """
        raise NotImplementedError

    def make_dataset(self, images: Any, labels: Any, is_test: Any = None, groups: Any = None) -> "Dataset":
        """A data set from arrays in any order.

        Args:
            images: (N, H, W), (N, H, W, C) or (N, pixels), numbers on a scale of `pixels`.
            labels: (N,) numbers or class names, or (N, K) one-hot.
            is_test: (N,) bool, True for test images; None: no official test images.
            groups: (N,), images with the same number or text belong together; None: no groups.

        Raises:
            DataError: another shape, no image, NaN, pixels or labels out of range, fewer images than `limit`.
        """
        from hcr.data.dataset import of_arrays

        return of_arrays(self, images, labels, is_test, groups)


def _without_folders(name: str) -> str:
    if not name or name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError
    return name


FileName = Annotated[
    str, AfterValidator(_without_folders), Expected("relative paths of files (dataset.path takes any path)")
]


class FileFormat(DataFormat):
    """Base class of the formats that read files; prepared images are kept in a cache.

    A download is saved under the name in `files` that `url` ends with, else under the last one.

    Attributes:
        takes_folders: True if `path`, and a name in `files`, may be a folder.
    """

    takes_folders: ClassVar[bool] = False

    path: Annotated[
        str | None,
        Expected("a path or null"),
        Field(
            min_length=1,
            description="the file or folder; null: one of `files` under HCR_DATA_DIR or in the user's cache",
        ),
    ] = None
    files: Annotated[
        Listing[FileName],
        Field(description="usual names of the file; if none is found, `url` is downloaded into the cache"),
    ] = ()
    url: Annotated[str | None, Field(description="download address of the file; null: none")] = None
    sha256: Annotated[
        str | None,
        Expected("64 hexadecimal digits, in lower case"),
        Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 that the download must have"),
    ] = None

    @model_validator(mode="after")
    def _names_a_file(self) -> "FileFormat":
        if self.path is None and not self.files:
            raise expected("the path of a file or folder (or names in dataset.files)", "dataset.path", None)
        if self.url is not None or self.sha256 is not None:
            self._check_download()
        return self

    def _check_download(self) -> None:
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
        if not self.files:
            raise expected("a file name, to keep the download under", "dataset.files", [])

    @property
    def is_local(self) -> bool:
        from hcr.data.files import local_file

        return local_file(self) is not None

    def read(self, path: Path) -> "Raw":
        """Read the file or folder `path`, as `find_file` found it.

        Raises:
            DataError: it is damaged, or another kind of file.
        """
        raise NotImplementedError

    def sources(self, path: Path) -> list[Path]:
        """Every file that `read(path)` reads: when the size or time of one changes, the data set is read again."""
        return [path]

    def load(self) -> "Dataset":
        from hcr.data.cache import load_cached

        return load_cached(self)


FORMATS = Parts(__name__, DataFormat, "hcr.formats", "load")
