"""The console that verbs print to."""

from typing import Any

from rich.console import Console


def new_console(**settings: Any) -> Console:
    """A console on standard output, or as `settings` of Rich's say, that wraps, highlights and interprets nothing.

    It is interactive, which is fit for lines that are drawn again and again, only where the output is a terminal:
    FORCE_COLOR and TTY_COMPATIBLE ask for colours in a pipe or a file, not for cursor movements.
    """
    # No markup: names of classes, data sets and runs may have brackets.
    console = Console(**{"highlight": False, "soft_wrap": True, "markup": False} | settings)
    console.is_interactive = console.is_interactive and console.file.isatty()
    return console
