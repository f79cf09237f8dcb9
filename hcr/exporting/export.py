"""One export, from a finished run to a checked file."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcr.config import HcrError
from hcr.config.errors import one_line
from hcr.exporting.agreement import TOLERANCE, CheckImages, Difference, check_images, difference, run_exported
from hcr.exporting.description import describe
from hcr.exporting.formats import ExportFormat, format_of
from hcr.exporting.inference import for_inference, is_float32
from hcr.exporting.target import filled, size_bytes
from hcr.importing import without_greetings
from hcr.recorded import RecordedRun
from hcr.tracking.journal import add_events
from hcr.training import configure_threads, predict_probabilities

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Exported:
    """A checked export.

    Attributes:
        path: the file, or the folder of a SavedModel.
        seen: the images that it was checked on.
        from_keras: how far it is from the Keras model in float32.
        from_bfloat16: how far that is from the model as it was trained, in bfloat16; None if it was in float32.
    """

    path: Path
    seen: CheckImages
    from_keras: Difference
    from_bfloat16: Difference | None

    @property
    def size_bytes(self) -> int:
        """The size of the file, or of the folder's files."""
        return size_bytes(self.path)


def export_run(run: RecordedRun, name: str, target: Path, *, force: bool) -> Exported:
    """Write the model of `run` in the format `name`, and check it by running it in that format's own runtime.

    Args:
        target: the file; the caller has checked it with `check_target`.
        force: True if an earlier export may be replaced.

    Raises:
        HcrError: the conversion failed, or the result differs from the Keras model; then there is no file.
    """
    kind = format_of(name)
    configure_threads(run.cfg.training)
    trained = run.load_model()
    model = for_inference(trained)
    seen = check_images(run)
    expected = predict_probabilities(model, seen.images)
    rounding = None
    if not is_float32(trained):
        rounding = difference(predict_probabilities(trained, seen.images), expected)
    with filled(target, kind, force=force) as new:
        apart = difference(_written_and_run(kind, name, run, model, new, seen), expected)
        if not apart.largest <= TOLERANCE:
            raise HcrError(
                f"--to {name}: expected the probabilities of the Keras model to {TOLERANCE:g}, but they differ by"
                f" {apart.largest:.2g} on {len(seen.images):,} {seen.what}; no file was kept"
            )
    return Exported(target, seen, apart, rounding)


def record_export(run: RecordedRun, name: str, exported: Exported) -> None:
    """Add what the check found to the journal of `run`: a metric, and a tag that says which file it is of.

    Raises:
        TrackingError: another process holds the run, or it cannot be written.
    """
    seen = exported.seen
    tag = {
        "file": exported.path.name,
        "sha256": hashlib.sha256(exported.path.read_bytes()).hexdigest() if exported.path.is_file() else None,
        "checked_on": f"{len(seen.images)} {seen.what}",
        "largest_difference": exported.from_keras.largest,
    }
    metrics = {f"export/{name}_difference": exported.from_keras.largest}
    if exported.from_bfloat16 is not None:
        metrics["export/float32_difference"] = exported.from_bfloat16.largest
    with run.lock() as folder:
        add_events(
            folder,
            [
                {"event": "metrics", "step": run.cfg.training.epochs, "values": metrics},
                {"event": "tags", "values": {f"hcr.export.{name}": json.dumps(tag)}},
            ],
        )


def _written_and_run(
    kind: ExportFormat, name: str, run: RecordedRun, model: "keras.Model", path: Path, seen: CheckImages
) -> NDArray[np.float32]:
    """Write the file, and return its probabilities of the images; what the converters print is kept quiet."""
    try:
        with without_greetings():
            kind.write(model, path, describe(run))
            return run_exported(kind.load(path), seen.images)
    except OSError:  # such as a full disk
        raise
    except Exception as error:  # converters and runtimes raise any type
        raise HcrError(
            f"--to {name}: model {run.cfg.model.name} cannot be exported"
            f" ({type(error).__name__}: {one_line(error)}); no file was kept"
        ) from error
