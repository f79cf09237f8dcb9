"""What Rich prints on a terminal: users' text as it is, tables whole, text measured in columns of the screen."""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

LONGEST_WORD = 60  # columns up to which a word in a table stays whole


class PlainConsole(Console):
    """Rich's console, for text of users': `[b]` and `:a:` in a name are that name, and no line is cut or broken.

    It is interactive, which is fit for lines that are drawn again and again, only where the output is a terminal:
    FORCE_COLOR and TTY_COMPATIBLE ask for colours in a pipe or a file, not for cursor movements.

    Args:
        file: where to; standard output by default.
        terminal: whether it is one; found out by default.
        options: others of Rich's console, such as `width`.
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
        """Nobody reads any more: the caller hears of it as of a `print`, and does not just exit."""
        raise

    def say(self, text: str) -> None:
        """Print a line; where a terminal is narrower it is broken between words, so that paths can still be copied."""
        indent = " " * (len(text) - len(text.lstrip()))
        lines = fold(text.split(), self.width - len(indent)) if self.is_interactive else [text.strip()]
        for line in lines:
            self.print(indent + line)

    def print_table(self, table: Table) -> None:
        """Print `table` whole: in a terminal too narrow for its longest words and numbers its lines run on."""
        needed = Measurement.get(self, self.options.update(max_width=sys.maxsize), table).minimum
        for column in table.columns:
            words = [word for cell in (column.header, *column.cells) for word in _words(str(cell))]
            # Rich measures a joined emoji as one character, and where it breaks lines as several.
            longest = max((sum(map(cell_len, word)) for word in words), default=1)
            column.min_width = min(LONGEST_WORD, longest)
            needed += column.min_width - max(map(cell_len, words), default=1)
            column.overflow = "fold"
        width = self.width
        self.width = max(width, needed)
        self.print(table)
        self.width = width


def _words(text: str) -> list[str]:
    """The words between which a line may be broken; what is blank before the first belongs to it."""
    first, *rest = text.split() or [""]
    return [text[: len(text) - len(text.lstrip())] + first, *rest]


def pad(text: str, width: int) -> str:
    """`text` with spaces behind it, up to `width` columns of a terminal; a Chinese character takes two."""
    return text + " " * (width - cell_len(text))


def num_columns(text: str) -> int:
    """Columns of a terminal that `text` takes."""
    return cell_len(text)


def fold(parts: Sequence[str], width: int, between: str = " ") -> list[str]:
    """`parts` in lines of at most `width` columns; a part stays whole, even where it is longer. At least one line."""
    lines = [""]
    for part in parts:
        joined = f"{lines[-1]}{between}{part}" if lines[-1] else part
        if cell_len(joined) <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(part)
    return lines


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, broken between words; only a longer word is broken inside."""
    return fold([piece for word in text.split() for piece in chop_cells(word, width)], width)


def say(text: str) -> None:
    """`PlainConsole.say` on standard output."""
    PlainConsole().say(text)
