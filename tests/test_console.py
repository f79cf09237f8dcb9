"""What is printed by Rich: users' text as it is, nothing cut, nothing broken inside a word that fits."""

import ast
import io
from pathlib import Path

import pytest
from rich.table import Table

from hcr.console import PlainConsole, fold, num_columns, pad, wrap

PACKAGE = Path(__file__).parents[1] / "hcr"
NAMES = [
    "[b]",
    "[/b]",
    "a/b [/x]",
    ":smile:",
    "[link=x]y[/link]",
    "中文 한글",
    "\\[red]",
    "1e5",
    "'text'",
    "https://a.b",
]


def printed(width: int, *cells: str, terminal: bool = False) -> str:
    out = io.StringIO()
    table = Table("class name", "images")
    for cell in cells:
        table.add_row(cell, "12,345")
    PlainConsole(file=out, width=width, terminal=terminal, color_system=None).print_table(table)
    return out.getvalue()


def test_names_that_look_like_markup_or_emoji_are_printed_as_they_are() -> None:
    out = io.StringIO()
    console = PlainConsole(file=out, width=20)
    for name in NAMES:
        console.print(name)
        console.say(name)
    assert out.getvalue().splitlines() == [name for name in NAMES for _ in range(2)]
    assert all(name in printed(80, *NAMES) for name in NAMES)


def test_every_console_is_one_that_takes_text_as_it_is() -> None:
    makers = {
        file.stem
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Console"
    }
    assert makers == set()


@pytest.mark.parametrize("width", [1, 20, 60, 110, 400])
def test_a_table_keeps_its_numbers_and_words_whole_in_any_terminal(width: int) -> None:
    text = printed(width, "a name of words", "averylongwordwithoutanyspaces", "中文字符名称", "x" * 500)
    for word in ("name", "words", "averylongwordwithoutanyspaces", "中文字符名称"):
        assert word in text
    assert text.count("12,345") == 4
    assert text.count("x") == 500
    assert "…" not in text
    rows = [line for line in text.splitlines() if line]
    assert len({num_columns(line) for line in rows}) == 1


def test_lines_are_broken_between_words_on_a_terminal_and_never_elsewhere() -> None:
    path = "/a/very/long/path/that/must/be/copied"
    out = io.StringIO()
    PlainConsole(file=out, width=20, terminal=True, color_system=None).say(f"the run is kept in {path} for you")
    assert out.getvalue().splitlines() == ["the run is kept in", path, "for you"]
    out = io.StringIO()
    PlainConsole(file=out, width=20).say(f"  the run is kept in {path}  for you")
    assert out.getvalue() == f"  the run is kept in {path}  for you\n"


def test_columns_are_those_of_the_screen() -> None:
    assert (num_columns("中文"), num_columns("ab"), num_columns("e\u0301")) == (4, 2, 1)
    assert pad("中", 4) == "中  "
    assert wrap("中文 ab 中文", 7) == ["中文 ab", "中文"]
    assert wrap("x" * 12, 5) == ["xxxxx", "xxxxx", "xx"]
    assert wrap("", 5) == [""]
    assert fold(["loss 0.1", "accuracy 0.9"], 15, "  ") == ["loss 0.1", "accuracy 0.9"]
