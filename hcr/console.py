"""Printing with Rich: user text verbatim, tables in full, widths measured in terminal columns."""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

LONGEST_WORD = 60  # columns; a longer word in a table is broken


class PlainConsole(Console):
    """A Rich console for user text: prints `[b]` and `:a:` literally, and neither cuts nor wraps lines.

    It is interactive (redraws lines) only if the output is a terminal: FORCE_COLOR and TTY_COMPATIBLE enable colours in
    a pipe or a file, not cursor movements.

    Args:
        file: output stream; default: standard output.
        terminal: True if `file` is a terminal; default: detected.
        options: further options of Rich's console, such as `width`.
    """

    def __init__(self, *, file: TextIO | None = None, terminal: bool | None = None, **options: Any) -> None:
        super().__init__(
            file=file,
            force_terminal=terminal,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
            **options,
        )
        if terminal is None:
            self.is_interactive = self.is_interactive and self.file.isatty()

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError to the caller, as `print` does; Rich would exit."""
        raise

    def say(self, text: str) -> None:
        """Print a line; on a narrower terminal it is wrapped between words, so that paths can be copied."""
        indent = " " * (len(text) - len(text.lstrip()))
        lines = fold(text.split(), self.width - len(indent)) if self.is_interactive else [text.strip()]
        for line in lines:
            self.print(indent + line)

    def print_table(self, table: Table) -> None:
        """Print `table` in full; its lines overflow a terminal that is too narrow for the longest words and numbers."""
        needed = Measurement.get(self, self.options.update(max_width=sys.maxsize), table).minimum
        for column in table.columns:
            words = [word for cell in (column.header, *column.cells) for word in _words(str(cell))]
            # Rich measures a joined emoji as one character, but counts several when it breaks lines.
            longest = max((sum(map(cell_len, word)) for word in words), default=1)
            column.min_width = min(LONGEST_WORD, longest)
            needed += column.min_width - max(map(cell_len, words), default=1)
            column.overflow = "fold"
        width = self.width
        self.width = max(width, needed)
        self.print(table)
        self.width = width


def _words(text: str) -> list[str]:
    """The words of `text`, between which a line may be broken; leading blanks belong to the first word."""
    first, *rest = text.split() or [""]
    return [text[: len(text) - len(text.lstrip())] + first, *rest]


def pad(text: str, width: int) -> str:
    """`text` padded with spaces to `width` terminal columns; a Chinese character takes two columns."""
    return text + " " * (width - cell_len(text))


def num_columns(text: str) -> int:
    """Number of terminal columns that `text` takes."""
    return cell_len(text)


def fold(parts: Sequence[str], width: int, between: str = " ") -> list[str]:
    """`parts` joined into lines of at most `width` columns; a longer part is not broken. Returns at least one line."""
    lines = [""]
    for part in parts:
        joined = f"{lines[-1]}{between}{part}" if lines[-1] else part
        if cell_len(joined) <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(part)
    return lines


def wrap(text: str, width: int) -> list[str]:
    """`text` wrapped between words to at most `width` columns; only a word longer than that is broken."""
    return fold([piece for word in text.split() for piece in chop_cells(word, width)], width)


def say(text: str) -> None:
    """`PlainConsole.say` on standard output."""
    PlainConsole().say(text)
