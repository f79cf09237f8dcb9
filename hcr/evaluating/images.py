"""The images of an evaluation: the run's own test images, or those of another data set, by the model's labels."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hcr.config import ConfigError, DataError
from hcr.config.errors import one_line
from hcr.data.dataset import Dataset
from hcr.data.loading import load_dataset
from hcr.data.preparation import border_brightness, spaced
from hcr.data.splitting import Splits, Subset, classes_kept, data_digests, dataset_digest, load_splits
from hcr.data.views import ImageView
from hcr.evaluating.asked import Asked
from hcr.evaluating.matching import listed, match_classes
from hcr.gate import RunConfig
from hcr.gate.resolve import fill_from_data
from hcr.recorded import RecordedRun

DARK_GROUND, LIGHT_GROUND = 0.3, 0.7  # share of bright border pixels: up to, and from


@dataclass(frozen=True, kw_only=True)
class EvaluatedImages:
    """The images to evaluate on.

    Attributes:
        cfg: the config of the evaluation, with what the data set's YAML left null.
        part: the images, with the model's labels.
        what: which images these are, such as "the test images of run a3f09c21b7d4".
        set_digest: SHA-256 (hex), identifies this set of images.
        dataset_digest: SHA-256 (hex) of the data set.
        split_digest: of the split that `part` is the test part of; None: it is no part of one.
        source: the file of the images, or another origin.
        is_own: True for the test images of the run's own split.
        num_own_test: number of images that are test images of the run's own split too, pixel for pixel.
        absent: the model's classes without images here.
        data_notes: how pixels and labels were read, if that is unusual.
        notes: what else to know about the figures, one line each.
    """

    cfg: RunConfig
    part: Subset
    what: str
    set_digest: str
    dataset_digest: str
    split_digest: str | None
    source: str
    is_own: bool
    num_own_test: int
    absent: tuple[str, ...]
    data_notes: tuple[str, ...]
    notes: tuple[str, ...]


def images_of(run: RecordedRun, asked: Asked) -> EvaluatedImages:
    """Read the images that `asked` names.

    Raises:
        ConfigError: another split of the run's own data set is named.
        DataError: the images cannot be read, the run's own data changed, or no class has the name of one of the model.
    """
    if not asked.changes_data:
        return _own_test(run, asked.cfg, run.load_splits())
    cfg = fill_from_data(asked.cfg)
    data = load_dataset(cfg.dataset)
    is_own = dataset_digest(data, cfg.dataset) == run.tags.get("hcr.dataset_digest")
    is_own &= cfg.dataset.kept_classes == run.class_names
    if is_own and asked.names_split and _split_digest(cfg) != run.tags.get("hcr.split_digest"):
        raise ConfigError(
            f"split: expected the split of run {run.key}, as these are the images that it was trained on: test images"
            " of another split may be training images of the model"
        )
    if data.images.shape[1:] != run.image_shape:
        raise DataError(
            f"{data.source}: expected images of {_shape(run.image_shape)}, got {_shape(data.images.shape[1:])}"
        )
    if is_own:
        cfg = cfg.replace(split=run.cfg.split, seed=run.cfg.seed)
        found = _own_test(run, cfg, load_splits(cfg.dataset, cfg.split, cfg.seed))
    else:
        found = _of_other(run, asked, cfg, data)
    return replace(found, notes=(*found.notes, *asked.notes, *_compared_with_training(run, found, data)))


def _own_test(run: RecordedRun, cfg: RunConfig, splits: Splits) -> EvaluatedImages:
    if splits.split_digest != run.tags.get("hcr.split_digest"):
        raise DataError(f"{splits.source}: the data changed since run {run.key} was trained")
    duplicates = splits.duplicates_test
    also = f"{duplicates:,} of {len(splits.test):,} images are also in training, pixel for pixel"
    return EvaluatedImages(
        cfg=cfg,
        part=splits.test,
        what=f"the test images of run {run.key}",
        set_digest=splits.split_digest,
        dataset_digest=splits.dataset_digest,
        split_digest=splits.split_digest,
        source=splits.source,
        is_own=True,
        num_own_test=len(splits.test),
        absent=(),
        data_notes=splits.data_notes,
        notes=(also,) if duplicates else (),
    )


def _of_other(run: RecordedRun, asked: Asked, cfg: RunConfig, data: Dataset) -> EvaluatedImages:
    name = cfg.dataset.name
    kept = classes_kept(data, cfg.dataset)
    match = match_classes(run.class_names, data.class_names, kept, name)
    rows, what = _rows(asked, cfg, data)
    labels = match.model_labels[data.labels[rows]]
    num_unknown = int((np.isin(data.labels[rows], _labels_of(data, match.unknown))).sum())
    rows, labels = rows[labels >= 0], labels[labels >= 0]
    if not len(rows):
        raise DataError(f"dataset={name}: expected images of a class that the model knows in {what}, got none")
    counts, num_own_test = np.bincount(labels, minlength=len(run.class_names)), _num_own_test(run, data, rows)
    absent = tuple(each for each, count in zip(run.class_names, counts, strict=True) if not count)
    notes = [] if data.source_shape == run.image_shape else [_prepared(run, cfg, data)]
    if match.unknown:
        notes.append(
            f"{num_unknown:,} images of classes that the model does not know ({listed(match.unknown)}) are left out:"
            " it could only be wrong about them"
        )
    if num_own_test:
        notes.append(
            f"{num_own_test:,} of {len(rows):,} images are also test images of the run's own split, so this is a look"
            " at them"
        )
    if absent:
        notes.append(
            f"no images of {listed(absent)}, which the model may still answer; macro F1 is the mean over the"
            f" {int((counts > 0).sum())} classes with images"
        )
    groups = None if data.groups is None else data.groups[rows]
    set_digest = hashlib.sha256(data.digest.encode() + rows.astype("<i8").tobytes()).hexdigest()
    return EvaluatedImages(
        cfg=cfg,
        part=Subset(ImageView(data.images, rows), labels, rows, groups),
        what=what,
        set_digest=set_digest,
        dataset_digest=dataset_digest(data, cfg.dataset),
        split_digest=_split_digest(cfg) if asked.names_split else None,
        source=data.source,
        is_own=False,
        num_own_test=num_own_test,
        absent=absent,
        data_notes=data.notes,
        notes=tuple(notes),
    )


def _num_own_test(run: RecordedRun, data: Dataset, rows: NDArray[np.intp]) -> int:
    """How many of the images are test images of the run's own split; 0 if its data is not here."""
    try:
        test, own = run.load_splits().test, load_dataset(run.cfg.dataset)
    except DataError:
        return 0
    return int(np.isin(_words(data.hashes[rows]), _words(own.hashes[test.index])).sum())


def _prepared(run: RecordedRun, cfg: RunConfig, data: Dataset) -> str:
    """A note on images that are of another size or colour than the model takes."""
    stored = "several sizes" if data.source_shape is None else _shape(data.source_shape)
    return f"images of {stored} are prepared to {_shape(run.image_shape)}, fit={cfg.dataset.fit}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _rows(asked: Asked, cfg: RunConfig, data: Dataset) -> tuple[NDArray[np.intp], str]:
    """The rows of `data` to evaluate on, and which images these are."""
    if asked.names_split:
        index = load_splits(cfg.dataset, cfg.split, cfg.seed).test.index
        return index, f"the test images of {cfg.dataset.name} by split={cfg.split.name}"
    if data.is_test is not None:
        return np.flatnonzero(data.is_test), f"the official test images of {cfg.dataset.name}"
    return np.arange(len(data.labels)), f"all images of {cfg.dataset.name}"


def _split_digest(cfg: RunConfig) -> str:
    return data_digests(cfg.dataset, cfg.split, cfg.seed).split


def _labels_of(data: Dataset, names: tuple[str, ...]) -> list[int]:
    return [data.class_names.index(name) for name in names]


def _compared_with_training(run: RecordedRun, found: EvaluatedImages, data: Dataset) -> list[str]:
    """Notes on images that are also in the run's training, and on ink of the other polarity."""
    try:
        train, trained = run.load_splits().train, load_dataset(run.cfg.dataset)
    except DataError as error:
        return [f"whether images are also in the model's training is not known ({one_line(error)})"]
    notes = []
    if not found.is_own:
        common = int(np.isin(_words(data.hashes[found.part.index]), _words(trained.hashes[train.index])).sum())
        if common:
            notes.append(
                f"{common:,} of {len(found.part):,} images are also in the model's training, pixel for pixel: the"
                " figures flatter it"
            )
    here, there = (border_brightness(part.images[spaced(len(part))]) for part in (found.part, train))
    for one, other, words in (
        (here, there, "dark on light, but was light on dark"),
        (there, here, "light on dark, but was dark on light"),
    ):
        if one >= LIGHT_GROUND and other <= DARK_GROUND:
            notes.append(f"ink is {words} in training; dataset.invert=true or false changes it")
    return notes


def _words(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 64 bits of SHA-256 digests (N, 32): of a million images, no two share them by chance."""
    return np.ascontiguousarray(hashes[:, :8]).view(np.uint64)[:, 0]
