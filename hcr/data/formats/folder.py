"""Pictures in a folder."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from hcr.config.settings import expected
from hcr.data.formats import FileFormat

if TYPE_CHECKING:
    from hcr.data.raw import Raw

BY_FOLDER = "folder"


class Folder(FileFormat):
    """PNG, JPEG, TIFF, BMP or WebP files: one folder a class, or a flat folder with a CSV of `file,label[,group]`.

    Class folders may lie in `train`, `val` and `test`, which are then the official sides.
    """

    takes_folders: ClassVar[bool] = True

    group_by: Annotated[
        str | None,
        Field(
            alias="group",
            min_length=1,
            description="images of a group stay in one part: folder (inside a class folder), or a pattern on the file"
            " name such as 'w(\\d+)_'; null: no groups, or the CSV's column",
        ),
    ] = None
    skip_broken: Annotated[bool, Field(description="true: leave out files that cannot be read, and count them")] = False

    @model_validator(mode="after")
    def _has_a_pattern(self) -> "Folder":
        if self.group_by not in (None, BY_FOLDER):
            try:
                groups = re.compile(str(self.group_by)).groups
            except re.error as error:
                raise expected(f"folder, or a regular expression ({error})", "dataset.group", self.group_by) from error
            if groups != 1:
                raise expected("folder, or a pattern with one pair of brackets", "dataset.group", self.group_by)
        return self

    def read(self, path: Path) -> "Raw":
        from hcr.data.readers.picturefolder import read_folder

        return read_folder(path, self)
