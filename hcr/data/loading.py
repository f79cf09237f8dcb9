"""Loads the data set of a config, whatever its format."""

import contextlib

from hcr.config.errors import DataError, HcrError, one_line
from hcr.config.text import printable
from hcr.data.dataset import Dataset
from hcr.data.formats import DataFormat

MOST_NAMED = 12  # classes in a message

_held: list[tuple[DataFormat, Dataset]] = []


def hold_dataset(cfg: DataFormat, dataset: Dataset) -> None:
    """Make `load_dataset(cfg)` return `dataset`, in this process and its forks, without reading a file."""
    _held[:] = [(cfg, dataset), *(pair for pair in _held if pair[0] != cfg)]


def load_dataset(cfg: DataFormat) -> Dataset:
    """The data set of `cfg`, checked and in canonical order.

    Raises:
        DataError: a file is missing or damaged, or does not match `cfg`.
    """
    for held, dataset in _held:
        if held == cfg:
            return dataset
    try:
        found = cfg.load()
    except (HcrError, ImportError):  # of a broken package, which has a message of its own
        raise
    except Exception as error:  # a format from an installed package may raise anything
        raise DataError(f"dataset={cfg.name}: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(found, Dataset):
        raise DataError(f"dataset={cfg.name}: expected the result of make_dataset, got a {type(found).__name__}")
    _check_declared(cfg, found)
    return found


def _check_declared(cfg: DataFormat, dataset: Dataset) -> None:
    """Refuse data that is not what the config declares, by which the gate accepted model and split."""
    for key, has, what in (
        ("has_official_test", dataset.is_test is not None, "official test images"),
        ("has_groups", dataset.groups is not None, "groups"),
    ):
        declared = getattr(cfg, key)
        if declared not in (None, has):
            hint = ", or in a MATLAB file dataset.train_images" if key == "has_official_test" else ""
            split = "official uses them" if key == "has_official_test" else "grouped keeps each in one part"
            use = f" (and split={split})" if has else ""
            raise DataError(
                f"{dataset.source}: expected {what if declared else 'no ' + what} (dataset.{key}:"
                f" {str(declared).lower()}{hint}), but the data has {what if has else 'none'}; set"
                f" dataset.{key}={str(has).lower()}{use}"
            )
    strangers = [name for name in cfg.classes or () if name not in dataset.class_names]
    if strangers:
        raise DataError(
            f"dataset.classes: expected names of classes ({', '.join(map(printable, dataset.class_names[:MOST_NAMED]))}"
            f"{', ...' if len(dataset.class_names) > MOST_NAMED else ''}), got {strangers[0]!r}"
        )


def read_ahead(cfg: DataFormat) -> None:
    """Read the data set ahead if it is on this machine; an error is reported later, when the data is needed."""
    if cfg.is_local:
        with contextlib.suppress(DataError):
            load_dataset(cfg)
