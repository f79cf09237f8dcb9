"""What a data format reads: images and labels as its files hold them, not checked, converted or ordered yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

# How the names of picture files end, in lower case.
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".pnm")

Array = NDArray[Any]
Side = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Picture:
    """One image in a picture format (PNG, JPEG, ...), not decoded yet.

    Attributes:
        content: the path of its file, or the file's bytes.
        name: for messages, such as the path or "row 17 of letters.parquet".
    """

    content: Path | bytes
    name: str


RawImages: TypeAlias = Array | Sequence[Picture]


@dataclass(frozen=True, kw_only=True)
class RawPart:
    """Images of one side with their labels.

    Attributes:
        images: (N, H, W), (N, H, W, C), (N, C, H, W) or (N, pixels), numbers of any dtype; or N pictures.
        labels: (N,) numbers or text, or (N, K) one-hot rows; or, if the data set has `class_names`, their indices.
        groups: (N,), images with the same number or text belong together, such as by writer; None: no groups.
        side: "train" for images without an official side; "val" and "test" for official ones.
        names: of the arrays of images and labels, for messages.
    """

    images: RawImages
    labels: Array
    groups: Array | None = None
    side: Side = "train"
    names: tuple[str, str] = ("images", "labels")


@dataclass(frozen=True, kw_only=True)
class Raw:
    """A data set as its files hold it.

    Attributes:
        parts: at least one; either all have groups or none.
        class_names: one per class, in label order, if the files name the classes; labels are then whole numbers from 0.
        notes: what the reader decided that a user should know, one line each.
        skips_broken: True to go on without pictures that cannot be read, which are counted.
    """

    parts: tuple[RawPart, ...]
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    skips_broken: bool = False
