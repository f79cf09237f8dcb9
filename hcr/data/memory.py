"""How much memory a data set may take."""

import os

from hcr.config.errors import DataError


def most_bytes() -> int:
    """Half of the machine's memory, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def check_fits(size_bytes: int, most: int, source: str) -> None:
    """Refuse a file whose content takes more than `most` bytes.

    Raises:
        DataError: it does not fit.
    """
    if size_bytes > most:
        raise DataError(
            f"{source}: expected a data set that fits into memory ({most / 2**30:,.1f} GiB), got"
            f" {size_bytes / 2**30:,.1f} GiB or more"
        )
