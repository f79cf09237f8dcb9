"""The images that a command line names, and their preparation, in several processes where it pays."""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from hcr.config.errors import DataError
from hcr.config.text import printable
from hcr.data.batches import FEW, progress, worked
from hcr.data.files import is_file, is_folder
from hcr.data.pictures import decode
from hcr.data.pixels import Images
from hcr.data.raw import PICTURE_ENDINGS, Picture
from hcr.data.tree import list_files
from hcr.recognition.preparer import NoInkError, Preparer

STDIN = "-"
MOST_STDIN_BYTES = 2**28
AT_A_TIME = 64  # images that a process prepares at a time
MANY_BYTES = 2**24  # of image files: from here on, photos are prepared in several processes


@dataclass(frozen=True)
class Prepared:
    """A batch of images.

    Attributes:
        images: (n, h, w, c), those that were prepared.
        rows: (n,), their positions in the batch.
        blank: positions of images without ink.
        broken: position and message of each file that is no image.
        num_resized: images whose size was not the model's.
    """

    images: Images
    rows: tuple[int, ...]
    blank: tuple[int, ...]
    broken: tuple[tuple[int, str], ...]
    num_resized: int


def pictures_of(words: Sequence[str]) -> list[Picture]:
    """The images that `words` name: files, folders (all pictures below), glob patterns, and "-" for standard input.

    A file need not exist: it is reported when it is read.

    Raises:
        DataError: a folder or a pattern has no picture, or standard input is empty, too long, or named twice.
    """
    if list(words).count(STDIN) > 1:
        raise DataError("-: expected standard input once")
    found: list[Picture] = []
    for word in words:
        if word == STDIN:
            found.append(Picture(_standard_input(), STDIN))
        elif is_folder(Path(word)):
            found += _in_folder(Path(word))
        elif glob.has_magic(word) and not is_file(Path(word)):
            found += _matching(word)
        else:
            found.append(_file(Path(word)))
    return found


def prepare_all(pictures: Sequence[Picture], preparer: Preparer) -> Iterator[tuple[int, Prepared]]:
    """Read and prepare pictures, in order: the position of each batch's first picture, and the batch.

    Raises:
        DataError: a process that prepares pictures died.
    """
    starts = range(0, len(pictures), AT_A_TIME)
    batches = (pictures[start : start + AT_A_TIME] for start in starts)
    prepare = partial(prepare_batch, preparer=preparer)
    with progress("preparing images", len(pictures)) as advance:
        prepared = worked(prepare, batches, in_processes=_is_long(pictures))
        for start, batch in zip(starts, prepared, strict=True):
            yield start, batch
            advance(min(start + AT_A_TIME, len(pictures)))


def prepare_batch(pictures: Sequence[Picture], preparer: Preparer) -> Prepared:
    """Read and prepare pictures."""
    images, rows, blank, broken, num_resized = [], [], [], [], 0
    for position, picture in enumerate(pictures):
        try:
            _check_regular(picture)
            image = decode(picture)
            images.append(preparer.prepare(image))
        except NoInkError:
            blank.append(position)
            continue
        except DataError as error:
            broken.append((position, str(error)))
            continue
        rows.append(position)
        num_resized += image.shape[:2] != preparer.image_shape[:2]
    return Prepared(
        images=np.stack(images) if images else np.zeros((0, *preparer.image_shape), np.uint8),
        rows=tuple(rows),
        blank=tuple(blank),
        broken=tuple(broken),
        num_resized=num_resized,
    )


def _check_regular(picture: Picture) -> None:
    """Refuse what might be read forever, such as a FIFO that nobody writes to."""
    path = picture.content
    if isinstance(path, Path) and not is_file(path) and os.path.exists(path):  # noqa: PTH110  # no name is too long
        raise DataError(f"{printable(picture.name)}: expected a file; - reads standard input")


def _standard_input() -> bytes:
    content = sys.stdin.buffer.read(MOST_STDIN_BYTES + 1)
    if not content:
        raise DataError("-: expected the bytes of an image on standard input, got none")
    if len(content) > MOST_STDIN_BYTES:
        raise DataError(f"-: expected at most {MOST_STDIN_BYTES:,} bytes on standard input")
    return content


def _file(path: Path) -> Picture:
    return Picture(path, str(path))


def _in_folder(folder: Path) -> list[Picture]:
    names = [file.name for file in list_files(folder)]
    found = [_file(folder / name) for name in names if name.lower().endswith(PICTURE_ENDINGS)]
    if not found:
        where = printable(str(folder))
        raise DataError(f"{where}: expected pictures (PNG, JPEG, TIFF, BMP, WebP or GIF), got {len(names)} other files")
    return found


def _matching(pattern: str) -> list[Picture]:
    found: list[Picture] = []
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  # an absolute pattern too
        if not is_folder(Path(name)):
            found.append(_file(Path(name)))
        elif "**" not in pattern:  # which names what is in the folder by itself
            found += _in_folder(Path(name))
    if not found:
        raise DataError(f"{printable(pattern)}: expected files that match, found none")
    return found


def _is_long(pictures: Sequence[Picture]) -> bool:
    """True if other processes would have started before one had prepared all."""
    if len(pictures) > FEW:
        return True
    size_bytes = 0
    for picture in pictures:
        content = picture.content
        if isinstance(content, Path) and is_file(content):
            size_bytes += content.stat().st_size
    return size_bytes > MANY_BYTES and len(pictures) > AT_A_TIME
