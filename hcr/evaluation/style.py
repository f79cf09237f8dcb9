"""Matplotlib's default settings, whatever a matplotlibrc or a notebook has set."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import rc_context, rcParams, rcParamsDefault

OF_THE_SCREEN = ("backend", "backend_fallback", "interactive")  # settings that do not change a picture

_drawing = threading.RLock()  # the settings are global to the process


@contextmanager
def default_style() -> Iterator[None]:
    """Apply the defaults for drawing and saving; one thread at a time."""
    with _drawing, rc_context():
        rcParams.update({name: value for name, value in rcParamsDefault.items() if name not in OF_THE_SCREEN})
        yield
