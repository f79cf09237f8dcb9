"""IDX files, as of MNIST and the data sets made like it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from hcr.data.formats import FileFormat, with_switch

if TYPE_CHECKING:
    from hcr.data.raw import Raw


class Idx(FileFormat):
    """The IDX files of MNIST, EMNIST, Fashion-MNIST, KMNIST or Kannada-MNIST, plain or gzip, in one folder."""

    takes_folders: ClassVar[bool] = True

    transposed: Annotated[
        Literal["auto", "true", "false"],
        BeforeValidator(with_switch),
        Field(description="true: images are stored column by column; auto: if the files' names start with emnist-"),
    ] = "auto"

    def read(self, path: Path) -> "Raw":
        from hcr.data.readers.idxfile import read_idx_set

        return read_idx_set(path, self.transposed)

    def sources(self, path: Path) -> list[Path]:
        from hcr.data.readers.idxfile import find_idx_set

        return find_idx_set(path).files
