"""The data set that a config describes, whatever its format."""

import contextlib

from hcr.config.errors import DataError, HcrError, one_line
from hcr.data.dataset import Dataset
from hcr.data.formats import DataFormat

_held: list[tuple[DataFormat, Dataset]] = []


def hold_dataset(cfg: DataFormat, dataset: Dataset) -> None:
    """From now on, in this process and its forks, `dataset` is what `cfg` describes: no file is looked for."""
    _held[:] = [(cfg, dataset), *(pair for pair in _held if pair[0] != cfg)]


def load_dataset(cfg: DataFormat) -> Dataset:
    """The data set that `cfg` describes, checked and in canonical order.

    Raises:
        DataError: a file that is absent, damaged or not what `cfg` says.
    """
    for held, dataset in _held:
        if held == cfg:
            return dataset
    try:
        found = cfg.load()
    except HcrError:
        raise
    except Exception as error:  # a format may be somebody else's: whatever fails in it is a failure to read the data
        raise DataError(f"dataset={cfg.name}: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(found, Dataset):
        raise DataError(f"dataset={cfg.name}: expected what make_dataset returns, got a {type(found).__name__}")
    return found


def read_ahead(cfg: DataFormat) -> None:
    """Read a file that is on this machine before it is needed; what is wrong with it is told when it is."""
    if cfg.is_local:
        with contextlib.suppress(DataError):
            load_dataset(cfg)
