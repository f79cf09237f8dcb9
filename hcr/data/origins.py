"""Where each image of a data set comes from: a file and a row of it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcr.data.files import find_file
from hcr.data.formats import DataFormat, FileFormat
from hcr.data.raw import Picture


class Origin(NamedTuple):
    """Where an image comes from.

    Attributes:
        source: a picture's file, or the name of an array or table.
        row: its row there, counted from 0; None for a picture.
    """

    source: str
    row: int | None


def origins_of(cfg: DataFormat, rows: NDArray[np.integer]) -> list[Origin]:
    """The origins of images.

    The files are listed or read again, which does not decode pictures.

    Args:
        rows: (N,), as in `Dataset.rows`.

    Raises:
        DataError: the files cannot be read.
    """
    if not isinstance(cfg, FileFormat):
        return [Origin(cfg.name, int(row)) for row in rows]
    starts: list[int] = []
    parts: list[tuple[str, int, Sequence[Picture] | None]] = []  # name, rows of that name before it, its pictures
    seen: dict[str, int] = {}
    total = 0
    for part in cfg.read(find_file(cfg)).parts:
        name, images = part.names[0], part.images
        starts.append(total)
        parts.append((name, seen.get(name, 0), None if isinstance(images, np.ndarray) else images))
        seen[name] = seen.get(name, 0) + len(images)
        total += len(images)
    found = []
    for row in rows:
        number = int(np.searchsorted(starts, row, side="right")) - 1
        name, before, pictures = parts[number]
        own = int(row) - starts[number]
        found.append(Origin(name, before + own) if pictures is None else Origin(pictures[own].name, None))
    return found
