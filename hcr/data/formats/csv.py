"""CSV files: one image a row, its label and its pixels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from hcr.config.words import Expected
from hcr.data.formats import FileFormat

if TYPE_CHECKING:
    from hcr.data.raw import Raw


class Csv(FileFormat):
    """A CSV file, plain or .gz, or a folder of them whose names have the words train, val and test.

    Columns are separated by a comma, semicolon, tab or blanks; a header is recognised. All columns but those of labels
    and groups are pixels, of a square image if `image_shape` is null.
    """

    takes_folders: ClassVar[bool] = True

    label: Annotated[
        str | None,
        Expected("first, last, a column's name or null"),
        Field(
            min_length=1,
            description="column of labels: first, last or its name; null: recognised by name (label, class, target, y,"
            " letter), else the first, or the last if only that can be labels",
        ),
    ] = None
    group_column: Annotated[
        str | None,
        Expected("a column's name or null"),
        Field(alias="group", min_length=1, description="column of groups, such as writers; null: no groups"),
    ] = None
    test_path: Annotated[
        str | None,
        Expected("a path or null"),
        Field(
            min_length=1,
            description="CSV file of the official test images; null: beside `path`, with test for train in its name",
        ),
    ] = None

    def read(self, path: Path) -> "Raw":
        from hcr.data.readers.csvfolder import read_all

        return read_all(self, path)

    def sources(self, path: Path) -> list[Path]:
        from hcr.data.readers.csvfolder import sources

        return sources(self, path)
