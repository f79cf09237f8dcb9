"""Images and labels in one file of arrays."""

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, model_validator

from hcr.config.addresses import split_address
from hcr.config.errors import ConfigError
from hcr.config.secrets import without_credentials
from hcr.config.settings import Count, Listing, expected
from hcr.config.words import Expected
from hcr.data.formats import DataFormat

if TYPE_CHECKING:
    from hcr.data.dataset import Dataset


def _without_folders(name: str) -> str:
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise ValueError
    return name


FileName = Annotated[
    str, AfterValidator(_without_folders), Expected("file names without folders (dataset.path takes a whole path)")
]


class Arrays(DataFormat):
    """A MATLAB v5 file or a NumPy archive (.npz); the content decides which.

    A download is saved under the name in `files` that `url` ends with, else under the last one.
    """

    path: Annotated[
        str | None,
        Expected("a path or null"),
        Field(min_length=1, description="the file; null: one of `files` under HCR_DATA_DIR or in the user's cache"),
    ]
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
    train_images: Annotated[
        Count | None,
        Field(description="MATLAB file: number of training images, which come first; the rest is test"),
    ] = None

    @model_validator(mode="after")
    def _names_a_file(self) -> "Arrays":
        if self.path is None and not self.files:
            raise expected("at least one file name, or a dataset.path", "dataset.files", [])
        if self.url is not None or self.sha256 is not None:
            self._check_download()
        if self.train_images is not None and not self.has_official_test:
            raise expected("null with has_official_test=false", "dataset.train_images", self.train_images)
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

    def load(self) -> "Dataset":
        from hcr.data.array_files import load_arrays

        return load_arrays(self)
