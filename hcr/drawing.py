"""A run's pictures, drawn when it ends, or later from its artifacts and its data set."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from hcr.config import DataError, TrackingError
from hcr.config.errors import one_line
from hcr.data.splitting import Splits, load_splits
from hcr.evaluation.metrics import evaluate
from hcr.gate import RunConfig, parse_config
from hcr.tracking.events import ARTIFACTS, Event, read_events
from hcr.tracking.journal import Journal, add_events
from hcr.tracking.lock import lock_ended_run

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from hcr.training import Scores

AUGMENTED, VARIANTS = 8, 9  # the augmentation picture: images, and variants of each
CONFIG, MODEL, PLOTS = "config/config.yaml", "model/data/model.keras", "plots"
PARTS = {"val": "validation", "test": "test"}  # names of the scored splits in pictures


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The numbers and images that a run's pictures are drawn from.

    Attributes:
        cfg: the run's config.
        history: the metrics of each epoch.
        best_epoch: the epoch whose weights were kept, counted from 1.
        shown: the split that was predicted, "test" or "val".
        probabilities, labels: (N, K) and (N,), of that split.
        kernel: (height, width, channels, filters) of the model's first convolution; None if it has none.
        splits: the images; None if they are unavailable: pictures that need pixels are skipped.
    """

    cfg: RunConfig
    history: Sequence[Mapping[str, float]]
    best_epoch: int
    shown: str
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    kernel: NDArray[np.float32] | None
    splits: Splits | None


def pictures(run: RunRecord) -> Iterator[tuple[str, "Figure"]]:
    """The name and figure of every picture of a run."""
    from hcr.evaluation import class_plots, plots
    from hcr.evaluation import pictures as images
    from hcr.evaluation.canvas import stamp

    names = run.cfg.dataset.kept_classes
    assert names is not None, "a recorded config has them"
    evaluation = evaluate(run.probabilities, run.labels, names)
    scored_on = f"{len(run.labels):,} {PARTS[run.shown]} images"
    curves = plots.curves_info(run.history, run.best_epoch, run.cfg.monitor)
    reliability = plots.reliability_info(run.probabilities, run.labels)
    yield "curves", plots.draw_curves(curves)
    yield "confusion_matrix", stamp(class_plots.draw_confusion(class_plots.confusion_info(evaluation)), scored_on)
    yield "class_f1", stamp(class_plots.draw_class_f1(class_plots.class_f1_info(evaluation)), scored_on)
    yield "reliability", stamp(plots.draw_reliability(reliability), scored_on)
    if run.kernel is not None:
        yield "filters", images.draw_filters(images.filters_info(run.kernel))
    if run.splits is None:
        return
    train, shown = run.splits.train, {"val": run.splits.val, "test": run.splits.test}[run.shown]
    seen = (shown.images, shown.labels, run.probabilities, names)
    balance = {name: getattr(run.splits, name).labels for name in ("train", "val", "test")}
    yield "samples", images.draw_samples(images.samples_info(train.images, train.labels, names))
    yield "class_balance", class_plots.draw_class_balance(class_plots.class_balance_info(balance, names))
    yield "predictions", stamp(images.draw_predictions(images.predictions_info(*seen)), scored_on)
    yield "worst_mistakes", stamp(images.draw_mistakes(images.mistakes_info(*seen)), scored_on)
    augmentation = _augmentation(run.cfg, run.splits)
    if augmentation is not None:
        yield "augmentation", augmentation


def record_pictures(journal: Journal, cfg: RunConfig, splits: Splits, model: "keras.Model", scores: "Scores") -> None:
    """Draw the pictures of a run that is about to end: of test if it was scored, else of validation."""
    run = RunRecord(
        cfg=cfg,
        history=scores.state.history,
        best_epoch=scores.state.best_epoch,
        shown=scores.judged_by,
        probabilities=scores.probabilities[scores.judged_by],
        labels={"val": splits.val, "test": splits.test}[scores.judged_by].labels,
        kernel=first_kernel(model),
        splits=splits,
    )
    draw(run, journal.artifact, journal.artifact_written)


def draw(run: RunRecord, artifact: Callable[[str], Path], written: Callable[[str], object]) -> None:
    """Write every picture of `run` as PNG.

    Args:
        artifact: maps an artifact's name to the path to write (see `Journal.artifact`).
        written: called with the name of each artifact after it is written.
    """
    from hcr.evaluation.canvas import save_figure
    from hcr.evaluation.style import default_style

    with default_style():
        for name, figure in pictures(run):
            path = f"{PLOTS}/{name}.png"
            save_figure(figure, artifact(path))
            written(path)


def first_kernel(model: "keras.Model") -> NDArray[np.float32] | None:
    """The kernel of the model's first convolution; None if it has none."""
    from keras.layers import Conv2D

    convolution = next((layer for layer in model.layers if isinstance(layer, Conv2D)), None)
    return None if convolution is None else np.array(convolution.kernel.numpy())


def draw_finished(folder: Path) -> tuple[list[Path], str | None]:
    """Draw the pictures of the finished run in `folder`, and record them in its journal.

    Returns:
        The paths of the pictures, and the reason why those that need pixels were skipped (None: none was).

    Raises:
        TrackingError: the run has not finished, its artifacts cannot be read, or another process holds its lock.
    """
    try:
        lock = lock_ended_run(folder)
    except BlockingIOError:
        raise TrackingError(f"run {folder.name}: another process holds it; expected a run that has ended") from None
    with lock:
        run, why = _recorded(folder)

        def artifact(path: str) -> Path:
            target = folder / ARTIFACTS / path
            target.parent.mkdir(parents=True, exist_ok=True)
            return target

        drawn: list[str] = []
        try:
            draw(run, artifact, drawn.append)
            add_events(folder, [{"event": "artifact", "path": path} for path in drawn])
        except OSError as error:
            raise TrackingError(f"{folder / ARTIFACTS}: cannot be written ({one_line(error)})") from error
    return [folder / ARTIFACTS / path for path in drawn], why


def is_drawn(folder: Path) -> bool:
    """True if the run in `folder` has its pictures."""
    return (folder / ARTIFACTS / PLOTS).is_dir()


def _recorded(folder: Path) -> tuple[RunRecord, str | None]:
    events = [event for event, _ in read_events(folder)]
    if events[-1].get("status") != "FINISHED":
        raise TrackingError(f"run {folder.name}: expected a run that has finished, with predictions to draw")
    try:
        raw = OmegaConf.load(folder / ARTIFACTS / CONFIG)
        assert isinstance(raw, DictConfig)
        cfg = parse_config(raw)
        shown = "test" if (folder / ARTIFACTS / "predictions/test.npz").is_file() else "val"
        with np.load(folder / ARTIFACTS / f"predictions/{shown}.npz") as predictions:
            probabilities, labels = predictions["probabilities"], predictions["labels"]
    except Exception as error:  # missing or damaged: YAML, NumPy and zip raise many types
        raise TrackingError(f"run {folder.name}: its artifacts cannot be read ({one_line(error)})") from error
    epochs: dict[int, dict[str, float]] = {}
    last: dict[str, float] = {}
    for event in events:
        if event["event"] == "metrics":
            last |= event["values"]
            if "train/loss" in event["values"]:
                epochs[event["step"]] = event["values"]
    splits, why = _splits(cfg, events[0])
    record = RunRecord(
        cfg=cfg,
        history=[epochs[step] for step in sorted(epochs)],
        best_epoch=int(last["best/epoch"]),
        shown=shown,
        probabilities=probabilities,
        labels=labels,
        kernel=_saved_kernel(folder / ARTIFACTS / MODEL),
        splits=splits,
    )
    return record, why


def _splits(cfg: RunConfig, header: Event) -> tuple[Splits | None, str | None]:
    """The images that the run was trained on, or None and the reason why they are unavailable."""
    try:
        splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    except DataError as error:
        return None, one_line(error)
    if splits.split_digest != header["tags"].get("hcr.split_digest"):
        return None, f"{splits.source}: the data changed since the run was trained"
    return splits, None


def _saved_kernel(path: Path) -> NDArray[np.float32] | None:
    import keras

    try:
        return first_kernel(keras.models.load_model(path, compile=False, safe_mode=True))
    except Exception as error:  # Keras raises many types for a bad file
        raise TrackingError(f"{path}: expected a model ({one_line(error)})") from error


def _augmentation(cfg: RunConfig, splits: Splits) -> "Figure | None":
    """A picture of augmented training images; None without augmentation."""
    from hcr.evaluation.pictures import augmentation_info, draw_augmentation

    augment = cfg.augmentation.build()
    if augment is None:
        return None
    some = splits.train.images[:: max(1, len(splits.train) // AUGMENTED)][:AUGMENTED]
    variants = [np.asarray(augment(some, np.array([cfg.seed, i], np.int64))) for i in range(VARIANTS)]
    return draw_augmentation(augmentation_info(some, np.stack(variants, axis=1)))
