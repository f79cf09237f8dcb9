"""Parquet files: pictures or pixels with their labels, as image sets are stored on the Hugging Face hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from hcr.config.words import Expected
from hcr.data.formats import FileFormat

if TYPE_CHECKING:
    from hcr.data.raw import Raw

COLUMN = Expected("a column's name or null")


class Parquet(FileFormat):
    """A parquet file, or a folder of shards whose names have the words train, validation and test.

    Class names are those in the metadata of the file's schema, if it has them.
    """

    takes_folders: ClassVar[bool] = True

    image: Annotated[
        str | None,
        COLUMN,
        Field(
            min_length=1,
            description="column of pictures, or of lists of pixels; null: recognised; if there is none, a column is one"
            " pixel",
        ),
    ] = None
    label: Annotated[
        str | None,
        COLUMN,
        Field(
            min_length=1,
            description="column of labels; null: recognised by name (label, class, target, y, letter), else the only"
            " one",
        ),
    ] = None
    group_column: Annotated[
        str | None,
        COLUMN,
        Field(alias="group", min_length=1, description="column of groups, such as writers; null: no groups"),
    ] = None

    def read(self, path: Path) -> "Raw":
        from hcr.data.readers.shards import read_all

        return read_all(self, path)

    def sources(self, path: Path) -> list[Path]:
        from hcr.data.readers.shards import sources

        return sources(path)
