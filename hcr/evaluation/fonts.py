"""Fonts for the characters of a text: Matplotlib's default font lacks Chinese, Korean and Devanagari, among others.

Other fonts are searched only for characters that the default fonts lack. A character that no font has is shown as its
code, and a class whose name cannot be drawn is shown by its number.
"""

import contextlib
from collections.abc import Iterator, Sequence
from functools import lru_cache

from matplotlib import font_manager
from matplotlib.font_manager import FontEntry, FontProperties, fontManager

from hcr.config.text import printable
from hcr.evaluation.style import default_style

MOST_NAMED = 5  # class names in one note
BOXES = "Last Resort"  # Matplotlib's fallback font, which draws every character as a box
REGULAR = (400, "400", "normal", "regular")


def families(text: str) -> list[str]:
    """The font families to draw `text` with: the default ones, then those with the characters that these lack."""
    found = list(FontProperties().get_family())
    for char in text:
        family = _family(char)
        if family is not None and family not in found:
            found.append(family)
    return found


def can_draw(text: str) -> bool:
    """True if the installed fonts have every character of `text`."""
    return text.isascii() or all(ord(char) in _default_characters() or _family(char) is not None for char in text)


def drawable(text: str) -> str:
    """`text` as one line that can be drawn: a character that no installed font has is replaced by its code."""
    return "".join(char if can_draw(char) else f"\\u{{{ord(char):x}}}" for char in printable(text))


def picture_names(class_names: Sequence[str]) -> list[str]:
    """The names of the K classes in pictures; `#17` for a name whose characters no installed font has."""
    shown = map(printable, class_names)
    return [name if can_draw(name) else f"#{k}" for k, name in enumerate(shown)]


def note_on_names(class_names: Sequence[str]) -> str | None:
    """A note on class names that pictures cannot show; None if they show all."""
    with default_style():
        missing = [name for name in map(printable, class_names) if not can_draw(name)]
    if not missing:
        return None
    more = f" and {len(missing) - MOST_NAMED} more" if missing[MOST_NAMED:] else ""
    return (
        f"no installed font has the characters of {len(missing)} of {len(class_names)} class names"
        f" ({', '.join(missing[:MOST_NAMED])}{more}); pictures show the numbers of these classes, such as"
        f" #{list(map(printable, class_names)).index(missing[0])}, until such a font is installed"
    )


@lru_cache(maxsize=1)
def _default_characters() -> frozenset[int]:
    """Code points of the default fonts."""
    default = FontProperties()
    paths = [font_manager.findfont(FontProperties(family=[family])) for family in default.get_family()]
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))


def _family(char: str) -> str | None:
    """The first other font family that has `char`; None if the default fonts have it, or no font has."""
    code = ord(char)
    if char.isascii() or code in _default_characters():
        return None
    found, unread = _searched()
    while code not in found:
        entry = next(unread, None)
        if entry is None:
            return None
        for other in _characters(entry):
            found.setdefault(other, entry.name)
    return found[code]


@lru_cache(maxsize=1)
def _searched() -> tuple[dict[int, str], Iterator[FontEntry]]:
    """The cache: the first family of each character of the fonts read so far, and the fonts not yet read.

    Each font is read at most once: a machine may have hundreds of fonts, and a data set thousands of names.
    """
    return {}, iter(_others())


@lru_cache(maxsize=1)
def _others() -> list[FontEntry]:
    """A regular face of every font file, sans-serif fonts first, like the default font.

    Matplotlib's list of fonts dates from its first use and lacks fonts installed since.
    """
    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted(font_manager.findSystemFonts()):
        if path not in known:
            with contextlib.suppress(Exception):  # not a font that FreeType can read
                fontManager.addfont(path)
    regular = [
        entry
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.weight in REGULAR and not entry.name.startswith(BOXES)
    ]
    # The faces of a collection have the same characters in the styles of different countries. Prefer simplified
    # Chinese (SC): Chinese names are the most likely ones.
    regular.sort(key=lambda entry: ("Serif" in entry.name, "Mono" in entry.name, not entry.name.endswith("SC")))
    return list({entry.fname: entry for entry in reversed(regular)}.values())[::-1]


def _characters(entry: FontEntry) -> frozenset[int]:
    """Code points of a font; empty for one that cannot be drawn with, such as coloured bitmaps."""
    try:
        index = getattr(entry, "index", 0)  # Matplotlib before 3.11 reads only the first face of a collection
        font = font_manager.get_font(font_manager.FontPath(entry.fname, index) if index else entry.fname)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except Exception:  # an unreadable font has no characters
        return frozenset()
