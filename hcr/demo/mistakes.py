"""The worst validation mistakes of a run, for the demo."""

from dataclasses import dataclass

from hcr.config import HcrError
from hcr.config.errors import one_line
from hcr.data.formats import FileFormat
from hcr.data.pixels import Images
from hcr.evaluation.metrics import worst_mistakes
from hcr.recorded import RecordedRun

MOST_MISTAKES = 24


@dataclass(frozen=True)
class Mistake:
    """A misclassified image (h, w, c) uint8, and the probability of the predicted class, in [0, 1]."""

    image: Images
    actual: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Mistakes:
    """The most confident mistakes on the validation images.

    Attributes:
        rows: at most MOST_MISTAKES, most confident first.
        num_images, num_wrong: numbers of validation images and of mistakes among them.
    """

    rows: tuple[Mistake, ...]
    num_images: int
    num_wrong: int


def find_mistakes(run: RecordedRun) -> Mistakes | str:
    """The worst mistakes of `run`, or why they cannot be shown. Nothing is downloaded."""
    data = run.cfg.dataset
    if isinstance(data, FileFormat) and data.url is not None and not data.is_local:
        return f"dataset={data.name} is not on this machine; `hcr data dataset={data.name}` downloads it"
    try:
        val = run.load_splits().val
        found = run.predictions("val")
    except HcrError as error:
        return one_line(error)
    predicted = found.probabilities.argmax(axis=1)
    shown = worst_mistakes(found.probabilities, found.labels, MOST_MISTAKES)
    names = run.class_names
    rows = tuple(
        Mistake(image, names[found.labels[i]], names[predicted[i]], float(found.probabilities[i, predicted[i]]))
        for i, image in zip(shown, val.images[shown], strict=True)
    )
    return Mistakes(rows, len(found.labels), int((predicted != found.labels).sum()))
