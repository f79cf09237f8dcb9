"""Matplotlib's own defaults, whatever a matplotlibrc or a notebook has set."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import rc_context, rcParams, rcParamsDefault

OF_THE_SCREEN = ("backend", "backend_fallback", "interactive")  # settings that no page depends on

_drawing = threading.RLock()  # the settings are those of the whole process


@contextmanager
def default_style() -> Iterator[None]:
    """Draw and save inside, one thread at a time."""
    with _drawing, rc_context():
        rcParams.update({name: value for name, value in rcParamsDefault.items() if name not in OF_THE_SCREEN})
        yield
