"""Names in pictures: in a font that has their characters where one is installed, else by number, and never a box."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import FontEntry
from matplotlib.text import Text

from hcr.evaluation import fonts
from hcr.evaluation.canvas import new_figure, save_figure, shorten, text_width
from hcr.evaluation.class_plots import (
    class_balance_info,
    class_f1_info,
    confusion_info,
    draw_class_balance,
    draw_class_f1,
    draw_confusion,
)
from hcr.evaluation.fonts import can_draw, drawable, families, note_on_names, picture_names
from hcr.evaluation.metrics import evaluate
from hcr.evaluation.pictures import (
    draw_mistakes,
    draw_predictions,
    draw_samples,
    mistakes_info,
    predictions_info,
    samples_info,
)

NOWHERE = "\U000f0123"  # for private use: no font has it
NAMES = ["0", NOWHERE, "中文", "한글", "क्ष", "שלום", "$x_1$ {", "a_b^ \\frac", "a\nb", "\x1b[31m", "e\u0301", "n" * 900]


def pictures(names: list[str]) -> dict[str, object]:
    random = np.random.default_rng(0)
    labels = np.arange(len(names) * 6) % len(names)
    probabilities = random.dirichlet(np.full(len(names), 0.3), len(labels))
    images = random.integers(0, 256, (len(labels), 4, 4, 1), dtype=np.uint8)
    evaluation = evaluate(probabilities, labels, tuple(names))
    seen = (images, labels, probabilities, names)
    return {
        "samples": draw_samples(samples_info(images, labels, names)),
        "balance": draw_class_balance(class_balance_info({"train": labels}, names)),
        "confusion": draw_confusion(confusion_info(evaluation)),
        "f1": draw_class_f1(class_f1_info(evaluation)),
        "predictions": draw_predictions(predictions_info(*seen)),
        "mistakes": draw_mistakes(mistakes_info(*seen)),
    }


def test_every_picture_shows_every_class_by_its_name_or_its_number_and_warns_of_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib's, for a character that becomes a box
        drawn = pictures(NAMES)
        for what, figure in drawn.items():
            save_figure(figure, tmp_path / f"{what}.png")
    called = picture_names(NAMES)
    assert called[:2] == ["0", "#1"]
    assert called[6:10] == ["$x_1$ {", "a_b^ \\frac", r"a\nb", r"\x1b[31m"]
    assert all(name in (printed, f"#{k}") for k, (name, printed) in enumerate(zip(called, NAMES, strict=True)) if k < 6)
    for what, figure in drawn.items():
        texts = [text.get_text() for text in figure.findobj(Text)]
        assert NOWHERE not in "".join(texts), what
        for name in called[:-1]:
            # Shortened or with a caption's other half, but there.
            assert any(name[:4] in text for text in texts), (what, name)


def test_text_is_no_mathematics_and_no_tex_whatever_matplotlibrc_says(tmp_path: Path) -> None:
    figure = new_figure(300, 100)
    figure.text(0.1, 0.5, "$\\frac{1$ a_b^", usetex=True)
    save_figure(figure, tmp_path / "a.png")
    plain = new_figure(300, 100)
    plain.text(0.1, 0.5, "$\\frac{1$ a_b^", usetex=False, parse_math=False)
    save_figure(plain, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_what_no_font_has_is_measured_and_shown_as_its_code() -> None:
    assert not can_draw(NOWHERE)
    assert drawable(f"a{NOWHERE}\n") == r"a\u{f0123}\n"
    assert text_width(NOWHERE, 9.0) == text_width(r"\u{f0123}", 9.0)
    assert shorten(NOWHERE, 9.0, 1000) == r"\u{f0123}"
    assert families("plain") == families("é") == families("")


def test_one_note_names_the_classes_that_pictures_call_by_number() -> None:
    assert note_on_names(["a", "é", "\n"]) is None
    note = note_on_names(["a", *[NOWHERE + str(k) for k in range(9)]])
    assert note is not None
    assert note.startswith("no installed font has the characters of 9 of 10 class names")
    assert f"({NOWHERE}0, " in note
    assert "and 4 more" in note
    assert "such as #1," in note


def font_with(char: str, path: Path) -> None:
    """A font that has the letters A and `char`, a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord("A"): "square", ord(char): "square"})
    builder.setupGlyf({".notdef": pen.glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "square": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWeightClass=400)
    builder.setupPost()
    path.parent.mkdir(parents=True)
    builder.save(path)


@pytest.mark.slow
def test_a_font_installed_after_matplotlib_was_first_used_is_found(tmp_path: Path) -> None:
    code = (
        "import json; from hcr.evaluation.fonts import families, picture_names\n"
        f"print(json.dumps([picture_names(['a', {NOWHERE!r}]), families({NOWHERE!r})]))"
    )
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "cache")}

    def names() -> tuple[list[str], list[str]]:
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        called, drawn_with = json.loads(done.stdout)
        return called, drawn_with[1:]

    assert names() == (["a", "#1"], [])
    font_with(NOWHERE, tmp_path / "fonts" / "squares.ttf")
    assert names() == (["a", NOWHERE], ["Squares"])


def test_each_font_is_read_once_however_many_characters_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    characters = fonts._characters

    def counted(entry: FontEntry) -> frozenset[int]:
        read.append(entry.fname)
        return characters(entry)

    monkeypatch.setattr(fonts, "_characters", counted)
    fonts._searched.cache_clear()
    assert not any(can_draw(chr(0xF0000 + i)) for i in range(200))  # for private use
    assert len(read) == len(set(read)) == len(fonts._others())
    fonts._searched.cache_clear()
