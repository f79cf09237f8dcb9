"""The pictures of a comparison, as PNG, and why one is left out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from hcr.comparing.sides import Compared
from hcr.comparing.story import PARTS, Compare
from hcr.config import DataError
from hcr.config.errors import one_line
from hcr.drawing import PLOTS, draw
from hcr.evaluation.answers import Answers, answers_of
from hcr.recorded import RecordedRun

MOST_OTHERS = 4  # sides that are drawn against the first


@dataclass(frozen=True)
class Drawn:
    """Pictures and what is missing.

    Attributes:
        png: the contents of each picture by its artifact's name, in the order of the page.
        alt: what each shows, in words.
        notes: why a picture is left out, one line each.
    """

    png: dict[str, bytes] = field(default_factory=dict)
    alt: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def draw_comparison(compared: Compare) -> Drawn:
    """Draw all pictures: of the first side beside each other one."""
    drawn = Drawn()
    with TemporaryDirectory(prefix="hcr-compare-") as folder:

        def artifact(path: str) -> Path:
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            return target

        def written(path: str) -> None:
            drawn.png[path] = (Path(folder) / path).read_bytes()

        draw(_pictures(compared, drawn), artifact, written)  # type: ignore[arg-type]
    return drawn


def _pictures(compared: Compare, drawn: Drawn) -> Iterator[tuple[str, object]]:
    """The name and figure of each picture; notes and texts go into `drawn`."""
    from hcr.evaluation import comparison_plots as plots
    from hcr.evaluation.canvas import stamp
    from hcr.evaluation.plots import reliability_info

    labels, sides = compared.labels, compared.sides
    names = sides[0].runs[0].class_names
    untrained = [side.label for side in sides if not all(run.history for run in side.runs)]
    if untrained:
        drawn.notes.append(
            f"no learning curves: {untrained[0]} was not trained, as an ensemble is made of trained runs"
        )
    else:
        drawn.alt[f"{PLOTS}/curves.png"] = "Validation loss and accuracy of each epoch, a line for each side."
        histories = [[run.history for run in side.runs] for side in sides]
        yield "curves", plots.draw_compared_curves(plots.compared_curves_info(labels, histories))
    if len(sides) > plots.MOST_SIDES:
        drawn.notes.append(f"curves and reliability show the first {plots.MOST_SIDES} of {len(sides)} sides")
    others = sides[1 : 1 + MOST_OTHERS]
    if len(others) < len(sides) - 1:
        drawn.notes.append(f"confusion and images show {labels[0]} beside the next {MOST_OTHERS} sides only")
    images = _Images(sides[0].runs[0])
    for number, other in enumerate(others, start=2):
        end = f"_{number}" if len(sides) > 2 else ""
        one, two = _answers_of_both(sides[0], other, compared.part)
        pair, stamped = (labels[0], other.label), f"{len(one.index):,} {PARTS[compared.part]} images"
        drawn.alt[f"{PLOTS}/confusion_difference{end}.png"] = f"Confusion matrix of {pair[1]} minus that of {pair[0]}."
        found = plots.confusion_difference_info(pair, one, two, names)
        yield f"confusion_difference{end}", stamp(plots.draw_confusion_difference(found), stamped)
        for what, (right, wrong), own in (
            ("first", (one, two), pair),
            ("second", (two, one), pair[::-1]),
        ):
            pixels = images.at(plots.shown_disagreements(right, wrong))
            if pixels is None:
                continue
            drawn.alt[f"{PLOTS}/only_{what}{end}.png"] = f"Images that {own[0]} has right and {own[1]} wrong."
            info = plots.disagreements_info((own[0], own[1]), right, wrong, pixels, names)
            yield f"only_{what}{end}", plots.draw_disagreements(info)
    if images.why is not None:
        drawn.notes.append(f"no pictures of images, as they are not at hand: {images.why}")
    drawn.alt[f"{PLOTS}/reliability.png"] = "Accuracy over confidence, a line for each side."
    pooled = [_pooled(side, compared.part) for side in sides[: plots.MOST_SIDES]]
    yield (
        "reliability",
        plots.draw_compared_reliability(labels[: len(pooled)], [reliability_info(*own) for own in pooled]),
    )


class _Images:
    """The images of a run's data set, read when they are first needed.

    Attributes:
        why: why they are not at hand; None: they are, or nobody asked.
    """

    def __init__(self, run: RecordedRun) -> None:
        self._run = run
        self._images: object = None
        self.why: str | None = None

    def at(self, index: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Those at these positions in the data set, (M, H, W, C); None if they are not at hand."""
        from hcr.data.loading import load_dataset

        if self._images is None and self.why is None:
            try:
                self._run.load_splits()  # refuses data that changed
                self._images = load_dataset(self._run.cfg.dataset).images
            except DataError as error:
                self.why = one_line(error)
        return None if self._images is None else np.asarray(self._images[index])  # type: ignore[index]


def _answers_of_both(first: Compared, second: Compared, part: str) -> tuple[Answers, Answers]:
    """The answers of two sides to the images that both were scored on."""
    found = [[run.predictions(part) for run in side.runs] for side in (first, second)]
    one, other = (np.unique(np.concatenate([own.index for own in runs])) for runs in found)
    common = np.intersect1d(one, other)
    kept = [[(own.probabilities, own.labels, own.index) for own in runs] for runs in found]
    return (
        answers_of([own for own in kept[0] if np.isin(own[2], common).any()], common),
        answers_of([own for own in kept[1] if np.isin(own[2], common).any()], common),
    )


def _pooled(side: Compared, part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The probabilities and labels of all runs of a side, below one another."""
    found = [run.predictions(part) for run in side.runs]
    return np.concatenate([own.probabilities for own in found]), np.concatenate([own.labels for own in found])
