"""`hcr predict`: a finished run's model reads photos and scans."""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hcr.commands.arguments import OneLineParser
from hcr.commands.predict_output import Answer, Rejection, print_csv, print_json, print_table
from hcr.config.errors import ConfigError, TrackingError
from hcr.config.text import printable
from hcr.data.pictures import decode
from hcr.data.raw import Picture
from hcr.evaluation.reject import reject_curve, threshold_for
from hcr.importing import import_keras
from hcr.recognition.files import STDIN, pictures_of, prepare_all
from hcr.recognition.made_as import MAKERS
from hcr.recorded import RecordedRun, recorded_run

if TYPE_CHECKING:
    from hcr.recognition.recognizer import Recognizer

BATCH = 1_024  # images that are classified at a time


def main(argv: Sequence[str]) -> int:
    """Classify images, and print the answers.

    Returns:
        1 if a file is no image, with one line for each on standard error; else 0.

    Raises:
        ConfigError, DataError, TrackingError: an argument, an image that is named, or the run is not as expected.
    """
    arguments = _parse(argv)
    pictures = pictures_of(arguments.images)
    pages = None if arguments.explain is None else _pages(Path(arguments.explain), pictures)
    run = recorded_run(arguments.run)
    rejection = None if arguments.reject is None else rejection_of(run, arguments.reject)
    import_keras()
    from hcr.recognition.recognizer import Recognizer

    recognizer = Recognizer(run, arguments.made_as)
    answers: dict[int, Answer] = {}
    broken = num_resized = 0
    for found, messages, resized in _answers(recognizer, pictures, rejection):
        answers |= found
        num_resized += resized
        broken += len(messages)
        for message in messages:
            print(printable(f"hcr: {message}"), file=sys.stderr, flush=True)
    if num_resized and _came_prepared(run, arguments.made_as):
        print(_note(run, num_resized), file=sys.stderr, flush=True)
    ordered = [answers[position] for position in sorted(answers)]
    if arguments.json:
        print_json(ordered, run, rejection)
    elif arguments.csv:
        print_csv(ordered)
    else:
        print_table(ordered, rejection)
    if pages is not None:
        _explain(recognizer, pictures, answers, pages)
    return 1 if broken else 0


def rejection_of(run: RecordedRun, accuracy: float) -> Rejection:
    """The threshold below which the answer is "?", from the run's validation images.

    Raises:
        TrackingError: no threshold reaches `accuracy`, or the run has no predictions.
    """
    val = run.predictions("val")
    curve = reject_curve(val.probabilities, val.labels)
    threshold = threshold_for(curve, accuracy)
    if threshold is None:
        best = int(curve.accuracy.argmax())
        raise TrackingError(
            f"--reject: no confidence threshold has an accuracy of {accuracy:g} on the validation images of run"
            f" {run.key}; the highest is {curve.accuracy[best]:.4f}, with {curve.answered[best]:.1%} answered"
        )
    place = int(np.searchsorted(curve.threshold, threshold))
    return Rejection(accuracy, threshold, float(curve.accuracy[place]), float(curve.answered[place]))


def _answers(
    recognizer: "Recognizer", pictures: Sequence[Picture], rejection: Rejection | None
) -> Iterator[tuple[dict[int, Answer], list[str], int]]:
    """Answers by position, messages on files that are no images, and how many images had another size; in batches."""
    names = recognizer.class_names
    waiting: list[tuple[list[int], np.ndarray]] = []

    def classified() -> dict[int, Answer]:
        positions = [position for part, _ in waiting for position in part]
        images = np.concatenate([images for _, images in waiting])
        waiting.clear()
        probabilities = recognizer.probabilities(images)
        return {
            position: Answer.of(pictures[position].name, row, names, rejection)
            for position, row in zip(positions, probabilities, strict=True)
        }

    for first, batch in prepare_all(pictures, recognizer.preparer):
        found = {first + place: Answer.blank(pictures[first + place].name) for place in batch.blank}
        if batch.rows:
            waiting.append(([first + row for row in batch.rows], batch.images))
        if sum(len(part) for part, _ in waiting) >= BATCH:
            found |= classified()
        yield found, [message for _, message in batch.broken], batch.num_resized
    if waiting:
        yield classified(), [], 0


def _came_prepared(run: RecordedRun, made_as: str | None) -> bool:
    """True if nothing says how an image becomes like those of the run's data set."""
    dataset = run.cfg.dataset
    return made_as is None and dataset.made_as is None and dataset.image_size is None


def _note(run: RecordedRun, count: int) -> str:
    images = "1 image" if count == 1 else f"{count:,} images"
    return (
        f"hcr: note: {images} of another size than the model's: scaled as a whole, since run {run.key} does not say how"
        f" its data set was made (dataset.made_as); --made-as {'|'.join(sorted(MAKERS))} finds the ink"
    )


def _pages(where: Path, pictures: Sequence[Picture]) -> Mapping[int, Path]:
    """The file for each picture's explanation, by position.

    Raises:
        ConfigError: one file for several pictures, or a file where a folder is expected.
    """
    if where.suffix.lower() == ".png" and not where.is_dir():
        if len(pictures) != 1:
            raise ConfigError(f"--explain: expected a folder for {len(pictures)} images, got the file {where}")
        _make_folder(where.parent)
        if where.exists():
            raise ConfigError(f"--explain: expected a new file, but {where} exists")
        return {0: where}
    _make_folder(where)
    found: dict[int, Path] = {}
    used: set[str] = set()
    for position, picture in enumerate(pictures):
        stem = "stdin" if picture.name == STDIN else re.sub(r"[^\w.-]+", "_", Path(picture.name).stem)[:100]
        name, number = stem, 1
        while name.casefold() in used:  # 1.png of two folders
            number += 1
            name = f"{stem}-{number}"
        used.add(name.casefold())
        found[position] = where / f"{name}.png"
    if there := next((path for path in found.values() if path.exists()), None):
        raise ConfigError(f"--explain: expected a folder without {there.name}, which {where} has; name a new one")
    return found


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigError(f"--explain: expected a folder or a .png file, got {folder} ({why})") from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"--explain: expected a folder that can be written, got {folder}")


def _explain(
    recognizer: "Recognizer", pictures: Sequence[Picture], answers: Mapping[int, Answer], pages: Mapping[int, Path]
) -> None:
    """Draw the answers to images, and say where the pictures are."""
    from hcr.evaluation.canvas import save_figure
    from hcr.evaluation.explanation import draw_explanation, explanation_info
    from hcr.evaluation.style import default_style
    from hcr.recognition.occlusion import occlusion_sensitivity

    drawn = 0
    for position, answer in sorted(answers.items()):
        if answer.probabilities is None:
            continue  # no ink
        source = decode(pictures[position])
        seen = recognizer.prepare(source)
        fall = occlusion_sensitivity(recognizer.probabilities, seen, int(answer.probabilities.argmax()))
        info = explanation_info(
            printable(answer.file), answer.sentence, (source, seen), fall, answer.probabilities, recognizer.class_names
        )
        with default_style():
            save_figure(draw_explanation(info), pages[position])
        drawn += 1
    where = next(iter(pages.values()), Path())
    what = str(where) if len(pages) == 1 else f"{drawn:,} picture{'s' * (drawn != 1)} in {where.parent}"
    print(printable(f"explained: {what}"), file=sys.stderr, flush=True)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(
        "predict",
        "Read photos and scans with the model of a finished run; an image holds one character. Images are\n"
        "prepared as the run's data set was: ink is found, scaled, centred. A prepared one stays as it is.",
    )
    parser.add_argument("run", metavar="RUN", help="a key, a unique prefix of one, a run id, a run name, or latest")
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="files, folders, quoted patterns such as 'scans/*.jpg', or - (stdin)"
    )
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON, with the probability of every class")
    formats.add_argument("--csv", action="store_true", help="print CSV")
    parser.add_argument(
        "--reject",
        type=_fraction,
        metavar="ACCURACY",
        help="answer ? where the model is less sure than it must be for this accuracy on the run's validation images",
    )
    parser.add_argument(
        "--explain", metavar="FILE|FOLDER", help="draw what the model saw of each image, and where it looked"
    )
    parser.add_argument(
        "--made-as",
        choices=sorted(MAKERS),
        help="how the makers of the run's data set prepared its images (default: dataset.made_as of the run)",
    )
    return parser.parse_args(argv)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected an accuracy above 0 and at most 1, such as 0.99, got {text!r}")
    return value
