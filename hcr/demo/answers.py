"""What the demo answers to a drawing or a file: the most probable classes, or why there are none."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcr.config import DataError
from hcr.config.text import printable
from hcr.data.pictures import decode
from hcr.data.pixels import Images
from hcr.data.raw import Picture

if TYPE_CHECKING:  # it imports TensorFlow
    from hcr.recognition import Recognizer

MOST_CLASSES = 5
MOST_BYTES = 16_000_000  # of a file: photos of phones are smaller
LONGEST_NAME = 60  # characters of a file's name in a message


@dataclass(frozen=True)
class ClassProbability:
    """A class and its probability, in [0, 1]."""

    name: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """An image as the model took it, (h, w, c) uint8, and its most probable classes, the first the most probable."""

    image: Images
    classes: tuple[ClassProbability, ...]


def answer(recognizer: "Recognizer", submission: Mapping[str, object]) -> Answer | None:
    """Classify what the page sent; see `read_submission`. None for a blank image.

    Raises:
        DataError: it is no picture, damaged, too large, or nothing can be found in it.
    """
    picture = read_submission(submission)
    if picture is None:
        return None
    image = decode(picture)
    if (image == image[:1, :1]).all():
        return None
    prepared = recognizer.prepare(image)
    (probabilities,) = recognizer.probabilities(prepared[np.newaxis])
    return Answer(prepared, top_classes(probabilities, recognizer.class_names))


def top_classes(probabilities: NDArray[np.floating], class_names: Sequence[str]) -> tuple[ClassProbability, ...]:
    """The MOST_CLASSES most probable classes, most probable first; of equal ones the lower label is first.

    Args:
        probabilities: (K,).
        class_names: K names.
    """
    order = np.argsort(-probabilities, kind="stable")[:MOST_CLASSES]
    return tuple(ClassProbability(class_names[k], float(probabilities[k])) for k in order)


def read_submission(submission: Mapping[str, object]) -> Picture | None:
    """The picture that the page sent; None for a blank canvas.

    Args:
        submission: `image`, a data URL, absent for a blank canvas and a file that is too large; `name`, of a file;
            `size_bytes`, of a file.

    Raises:
        DataError: the file is too large or empty, or this is not what the page sends.
    """
    name, url, size_bytes = submission.get("name"), submission.get("image"), submission.get("size_bytes")
    name = _shortened(printable(name)) if isinstance(name, str) else "drawing"
    if isinstance(size_bytes, int | float) and size_bytes > MOST_BYTES:
        raise DataError(f"{name}: expected at most {MOST_BYTES / 1e6:.0f} MB, got {size_bytes / 1e6:.1f} MB")
    if url is None:
        return None
    try:
        assert isinstance(url, str)
        _, comma, text = url.partition(",")
        content = base64.b64decode(text, validate=True)
        assert comma
    except (AssertionError, binascii.Error, ValueError) as error:
        raise DataError(f"{name}: expected a picture as a data URL") from error
    if not content:
        raise DataError(f"{name}: expected a picture, got an empty file")
    return Picture(content, name)


def _shortened(name: str) -> str:
    """The name with its middle left out, so that its ending stays."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}...{name[-half:]}"
