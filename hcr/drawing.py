"""A run's pictures, drawn when it ends, or later from its artifacts and its data set."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcr.config import DataError, TrackingError
from hcr.config.errors import one_line
from hcr.data.splitting import Splits
from hcr.data.views import AnyImages
from hcr.evaluation.calibration import scale
from hcr.evaluation.metrics import Evaluation, evaluate, worst_mistakes
from hcr.gate import RunConfig
from hcr.recorded import RecordedRun, read_run
from hcr.tracking.events import ARTIFACTS
from hcr.tracking.journal import Journal, add_events
from hcr.tracking.tables import listed, picture_cell, table_text

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from hcr.training import Scores

AUGMENTED, VARIANTS = 8, 9  # the augmentation picture: images, and variants of each
PLOTS = "plots"
TABLE_PICTURES, TILE = "table_images/worst_mistakes", 96  # pictures in a table, and their longer side in pixels
PARTS = {"val": "validation", "test": "test"}  # names of the scored splits in pictures


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The numbers and images that a run's pictures are drawn from.

    Attributes:
        cfg: the run's config.
        history: the metrics of each epoch; empty if nothing was trained, as for an ensemble.
        best_epoch: the epoch whose weights were kept, counted from 1; 0 without epochs.
        shown: the split that was predicted, "test" or "val".
        probabilities, labels: (N, K) and (N,), of that split.
        temperature: by which the model's logits are divided; 1 if it was not calibrated.
        kernel: (height, width, channels, filters) of the model's first convolution; None if it has none.
        splits: the images; None if they are unavailable: pictures that need pixels are skipped.
    """

    cfg: RunConfig
    history: Sequence[Mapping[str, float]]
    best_epoch: int
    shown: str
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    temperature: float
    kernel: NDArray[np.float32] | None
    splits: Splits | None


def pictures(run: RunRecord) -> Iterator[tuple[str, "Figure"]]:
    """The name and figure of every picture of a run."""
    from hcr.evaluation import class_plots, plots
    from hcr.evaluation import pictures as images

    if run.history:
        yield "curves", plots.draw_curves(plots.curves_info(run.history, run.best_epoch, run.cfg.monitor))
    shown = None if run.splits is None else {"val": run.splits.val, "test": run.splits.test}[run.shown].images
    names = run.cfg.dataset.kept_classes
    assert names is not None, "a recorded config has them"
    evaluation = evaluate(run.probabilities, run.labels, names)
    part = PARTS[run.shown]
    yield from prediction_pictures(evaluation, run.probabilities, run.labels, shown, part, run.temperature)
    if run.kernel is not None:
        yield "filters", images.draw_filters(images.filters_info(run.kernel))
    if run.splits is None:
        return
    train = run.splits.train
    balance = {name: getattr(run.splits, name).labels for name in ("train", "val", "test")}
    yield "samples", images.draw_samples(images.samples_info(train.images, train.labels, names))
    yield "class_balance", class_plots.draw_class_balance(class_plots.class_balance_info(balance, names))
    augmentation = _augmentation(run.cfg, run.splits) if run.history else None
    if augmentation is not None:
        yield "augmentation", augmentation


def prediction_pictures(
    evaluation: Evaluation,
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    shown: AnyImages | None,
    part: str,
    temperature: float = 1.0,
) -> Iterator[tuple[str, "Figure"]]:
    """The name and figure of every picture of a model's predictions.

    Args:
        evaluation: the metrics of these predictions.
        probabilities, labels: (N, K) and (N,).
        shown: the images (N, H, W, C); None if they are unavailable: pictures that need them are skipped.
        part: what the images are, such as "test".
        temperature: by which the logits were divided; if it is not 1, reliability is also drawn as it was before.
    """
    from hcr.evaluation import class_plots, plots, reject_plot
    from hcr.evaluation import pictures as images
    from hcr.evaluation.canvas import stamp

    scored_on = f"{len(labels):,} {part} images"
    class_names = tuple(score.name for score in evaluation.classes)
    yield "confusion_matrix", stamp(class_plots.draw_confusion(class_plots.confusion_info(evaluation)), scored_on)
    yield "class_f1", stamp(class_plots.draw_class_f1(class_plots.class_f1_info(evaluation)), scored_on)
    reliability, before = plots.reliability_info(probabilities, labels), None
    if temperature != 1:
        before = plots.reliability_info(scale(probabilities, 1 / temperature), labels)
    yield "reliability", stamp(plots.draw_reliability(reliability, before), scored_on)
    reject = reject_plot.reject_info(probabilities, labels)
    yield "reject_curve", stamp(reject_plot.draw_reject(reject), scored_on)
    if shown is not None:
        seen = (shown, labels, probabilities, class_names)
        yield "predictions", stamp(images.draw_predictions(images.predictions_info(*seen)), scored_on)
        yield "worst_mistakes", stamp(images.draw_mistakes(images.mistakes_info(*seen)), scored_on)


def record_pictures(journal: Journal, cfg: RunConfig, splits: Splits, model: "keras.Model", scores: "Scores") -> None:
    """Draw the pictures and write the tables of a run that is about to end, of test if it was scored, else of
    validation.
    """
    run = RunRecord(
        cfg=cfg,
        history=scores.state.history,
        best_epoch=scores.state.best_epoch,
        shown=scores.judged_by,
        probabilities=scores.probabilities[scores.judged_by],
        labels={"val": splits.val, "test": splits.test}[scores.judged_by].labels,
        temperature=1.0 if scores.calibration is None else scores.calibration.temperature,
        kernel=first_kernel(model),
        splits=splits,
    )
    draw(pictures(run), journal.artifact, journal.artifact_written)
    journal.tags(listed(journal.folder, write_tables(run, journal.artifact, journal.artifact_written)))


def write_tables(run: RunRecord, artifact: Callable[[str], Path], written: Callable[[str], object]) -> list[str]:
    """Write the tables of a run's mistakes, as MLflow shows them; return their names.

    Args:
        artifact, written: as for `draw`.
    """
    from PIL import Image

    from hcr.evaluation.mistake_tables import confusions, mistakes
    from hcr.evaluation.mosaic import enlarge
    from hcr.evaluation.pictures import NUM_MISTAKES

    names = run.cfg.dataset.kept_classes
    assert names is not None, "a recorded config has them"
    evaluation = evaluate(run.probabilities, run.labels, names)
    worst = worst_mistakes(run.probabilities, run.labels, NUM_MISTAKES)
    cells = []
    if run.splits is not None and len(worst):
        images = {"val": run.splits.val, "test": run.splits.test}[run.shown].images
        for i, tile in enumerate(enlarge(images[worst], TILE)):
            path = f"{TABLE_PICTURES}/{i + 1:02}.png"
            Image.fromarray(tile).save(artifact(path))
            cells.append(picture_cell(path))
        written(TABLE_PICTURES)
    tables = {
        "tables/worst_mistakes.json": mistakes(evaluation, run.probabilities, run.labels, worst, cells),
        "tables/confusions.json": confusions(evaluation),
    }
    for path, columns in tables.items():
        artifact(path).write_text(table_text(columns), encoding="utf-8")
        written(path)
    return list(tables)


def draw(
    drawn: Iterable[tuple[str, "Figure"]], artifact: Callable[[str], Path], written: Callable[[str], object]
) -> None:
    """Write pictures as PNG.

    Args:
        drawn: the name and figure of each; an iterator is asked for one at a time.
        artifact: maps an artifact's name to the path to write (see `Journal.artifact`).
        written: called with the name of each artifact after it is written.
    """
    from hcr.evaluation.canvas import save_figure
    from hcr.evaluation.style import default_style

    with default_style():
        for name, figure in drawn:
            path = f"{PLOTS}/{name}.png"
            save_figure(figure, artifact(path))
            written(path)


def first_kernel(model: "keras.Model") -> NDArray[np.float32] | None:
    """The kernel of the model's first convolution, or that of a model in it; None if there is none."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            return np.array(layer.kernel.numpy())
        if isinstance(layer, keras.Model) and (kernel := first_kernel(layer)) is not None:
            return kernel
    return None


def draw_finished(folder: Path) -> tuple[list[Path], str | None]:
    """Draw the pictures of the finished run in `folder`, and record them and its tables in its journal.

    Returns:
        The paths of the pictures, and the reason why those that need pixels were skipped (None: none was).

    Raises:
        TrackingError: the run has not finished, its artifacts cannot be read, or another process holds its lock.
    """
    run = read_run(folder)
    with run.lock():
        record, why = _record(run)

        def artifact(path: str) -> Path:
            target = folder / ARTIFACTS / path
            target.parent.mkdir(parents=True, exist_ok=True)
            return target

        drawn: list[str] = []
        try:
            draw(pictures(record), artifact, drawn.append)
            shown, tables = len(drawn), write_tables(record, artifact, drawn.append)
            events = [{"event": "artifact", "path": path} for path in drawn]
            add_events(folder, [*events, {"event": "tags", "values": listed(folder, tables)}])
        except OSError as error:
            raise TrackingError(f"{folder / ARTIFACTS}: cannot be written ({one_line(error)})") from error
    return [folder / ARTIFACTS / path for path in drawn[:shown]], why


def is_drawn(folder: Path) -> bool:
    """True if the run in `folder` has its pictures."""
    return (folder / ARTIFACTS / PLOTS).is_dir()


def _record(run: RecordedRun) -> tuple[RunRecord, str | None]:
    predictions = run.predictions(run.scored_part)
    try:
        splits, why = run.load_splits(), None
    except DataError as error:
        splits, why = None, one_line(error)
    record = RunRecord(
        cfg=run.cfg,
        history=run.history,
        best_epoch=int(run.metrics.get("best/epoch", 0)),
        shown=run.scored_part,
        probabilities=predictions.probabilities,
        labels=predictions.labels,
        temperature=run.metrics.get("calibration/temperature", 1.0),
        kernel=first_kernel(run.load_model()) if run.history else None,
        splits=splits,
    )
    return record, why


def _augmentation(cfg: RunConfig, splits: Splits) -> "Figure | None":
    """A picture of augmented training images; None without augmentation."""
    from hcr.evaluation.pictures import augmentation_info, draw_augmentation

    augment = cfg.augmentation.build()
    if augment is None:
        return None
    some = splits.train.images[:: max(1, len(splits.train) // AUGMENTED)][:AUGMENTED]
    variants = [np.asarray(augment(some, np.array([cfg.seed, i], np.int64))) for i in range(VARIANTS)]
    return draw_augmentation(augmentation_info(some, np.stack(variants, axis=1)))
