"""What `hcr predict` prints: a table, CSV or JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.text import csv_line, printable
from hcr.console import PlainConsole, num_columns, pad
from hcr.recorded import RecordedRun

UNSURE = "?"
NO_INK, REJECTED = "no ink found", "rejected"
COLUMNS = ("file", "label", "guess", "probability", "runner_up", "runner_up_probability", "note")
ROWS = 1_000  # lines printed at a time


@dataclass(frozen=True)
class Rejection:
    """The confidence below which an answer is UNSURE.

    Attributes:
        wanted: the accuracy that was asked for.
        threshold: the least confidence of an answer.
        accuracy, answered: of the validation images: accuracy on those answered, and their fraction.
    """

    wanted: float
    threshold: float
    accuracy: float
    answered: float


@dataclass(frozen=True)
class Answer:
    """The answer to one image.

    Attributes:
        file: its name.
        label: a class; UNSURE if it was rejected; None without ink.
        guess, runner_up: the most probable class and the next; None without ink.
        probability, runner_up_probability: theirs.
        note: empty, NO_INK or REJECTED.
        probabilities: (K,); None without ink.
    """

    file: str
    label: str | None
    guess: str | None
    probability: float | None
    runner_up: str | None
    runner_up_probability: float | None
    note: str
    probabilities: NDArray[np.float32] | None

    @classmethod
    def of(
        cls, file: str, probabilities: NDArray[np.float32], names: Sequence[str], rejection: Rejection | None
    ) -> "Answer":
        """The answer by probabilities (K,) of the classes `names`."""
        first, second = np.argsort(-probabilities, kind="stable")[:2]
        is_rejected = rejection is not None and float(probabilities[first]) < rejection.threshold
        return cls(
            file=file,
            label=UNSURE if is_rejected else names[first],
            guess=names[first],
            probability=_number(probabilities[first]),
            runner_up=names[second],
            runner_up_probability=_number(probabilities[second]),
            note=REJECTED if is_rejected else "",
            probabilities=probabilities,
        )

    @classmethod
    def blank(cls, file: str) -> "Answer":
        """An image without ink."""
        return cls(file, None, None, None, None, None, NO_INK, None)

    @property
    def sentence(self) -> str:
        """The answer, for a picture."""
        if self.probability is None:
            return self.note
        sure = f"probability {self.probability:.3f}"
        if self.note == REJECTED:
            return f"answer: {UNSURE}, since {self.guess} has a {sure} only"
        return f"answer: {self.label}, {sure}"


def print_table(answers: Sequence[Answer], rejection: Rejection | None) -> None:
    """Print a line for each image."""
    rows = [_row(answer) for answer in answers]
    header = ("file", "label", "probability", "runner-up")
    widths = [max(map(num_columns, column)) for column in zip(header, *rows, strict=True)]
    console = PlainConsole()
    console.print(_line(header, widths), style="bold")
    for start in range(0, len(rows), ROWS):
        sys.stdout.write("".join(f"{_line(row, widths)}\n" for row in rows[start : start + ROWS]))
    if rejection is not None:
        count = sum(answer.note == REJECTED for answer in answers)
        console.say(
            f"{UNSURE} on {count:,} of {len(answers):,}: below a confidence of {rejection.threshold:.4f}, above which"
            f" accuracy is {rejection.accuracy:.4f} on validation, with {rejection.answered:.1%} answered"
        )


def print_csv(answers: Sequence[Answer]) -> None:
    """Print CSV with a header; what an image without ink lacks is empty."""
    sys.stdout.write(csv_line(COLUMNS))
    for answer in answers:
        cells = [getattr(answer, column) for column in COLUMNS]
        sys.stdout.write(csv_line(["" if cell is None else cell for cell in cells]))


def print_json(answers: Sequence[Answer], run: RecordedRun, rejection: Rejection | None) -> None:
    """Print one JSON object: `run`, `classes`, `reject` and `images`; an image's `probabilities` are in class order."""
    images: list[dict[str, Any]] = []
    for answer in answers:
        found: dict[str, Any] = {column: getattr(answer, column) for column in COLUMNS}
        found["label"] = None if answer.note else answer.label  # a class may be called ?
        found["note"] = answer.note or None
        probabilities = answer.probabilities
        found["probabilities"] = None if probabilities is None else [_number(value) for value in probabilities]
        images.append(found)
    reject = None
    if rejection is not None:
        reject = {
            "accuracy": rejection.wanted,
            "threshold": rejection.threshold,
            "validation_accuracy": rejection.accuracy,
            "validation_answered": rejection.answered,
        }
    whole = {"run": run.key, "classes": list(run.class_names), "reject": reject, "images": images}
    json.dump(whole, sys.stdout, ensure_ascii=True, allow_nan=False, indent=1)
    sys.stdout.write("\n")


def _row(answer: Answer) -> tuple[str, str, str, str]:
    file = printable(answer.file)
    if answer.probability is None or answer.runner_up_probability is None:
        return file, "-", NO_INK, ""
    second = f"{printable(str(answer.runner_up))} {answer.runner_up_probability:.4f}"
    return file, printable(str(answer.label)), f"{answer.probability:.4f}", second


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(pad(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _number(value: np.floating[Any]) -> float:
    """A float32 as the shortest number that reads back as the same float32."""
    return float(str(value))
