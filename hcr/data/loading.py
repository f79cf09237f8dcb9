"""Loads the data set of a config, whatever its format."""

import contextlib

from hcr.config.errors import DataError, HcrError, one_line
from hcr.data.dataset import Dataset
from hcr.data.formats import DataFormat

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
    return found


def read_ahead(cfg: DataFormat) -> None:
    """Read the data set ahead if it is on this machine; an error is reported later, when the data is needed."""
    if cfg.is_local:
        with contextlib.suppress(DataError):
            load_dataset(cfg)
