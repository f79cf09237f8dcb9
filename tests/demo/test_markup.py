"""The HTML of the demo's page."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from hcr.demo import markup
from hcr.demo.answers import Answer, ClassProbability
from hcr.demo.facts import RunFacts
from hcr.demo.mistakes import Mistake, Mistakes

HOSTILE = [
    "<b>bold</b>",
    '"><img src=x onerror=alert(1)>',
    "${alert(1)}",
    "{{value}}",
    "`x`",
    "a&amp;b",
    "\\u0041",
    "'",
]
IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)


class Page(HTMLParser):
    """The tags and the text of some HTML."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def panels(name: str) -> list[str]:
    """Every panel, with `name` wherever a user's text goes."""
    return [
        markup.header(RunFacts(name, name, name, name, f"http://host/{name}"), (8, 8, 1)),
        markup.header(RunFacts(name, name, name, name, None), (8, 8, 1)),
        markup.answer_panel(Answer(IMAGE, (ClassProbability(name, 0.9), ClassProbability("b", 0.1)))),
        markup.answer_panel(None, name),
        markup.mistakes_panel(Mistakes((Mistake(IMAGE, name, name, 0.9),), 10, 1)),
        markup.mistakes_panel(name),
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_literally_and_adds_no_markup(name: str) -> None:
    for hostile, plain in zip(panels(name), panels("plain"), strict=True):
        assert Page(hostile).tags == Page(plain).tags
        assert len(Page(hostile).attributes) == len(Page(plain).attributes)
        assert Page(hostile).text == Page(plain).text.replace("plain", name)
        # What Gradio compiles as a JavaScript template string and with Handlebars has nothing for either.
        assert not set("$`{}\\") & set(hostile)


def test_the_bars_are_as_wide_as_the_probabilities() -> None:
    classes = (ClassProbability("a", 0.75), ClassProbability("b", 0.25))
    page = Page(markup.answer_panel(Answer(IMAGE, classes)))
    assert [value for name, value in page.attributes if name == "style"] == ["width:75.0%", "width:25.0%"]
    assert "75.0 %" in page.text


def test_without_an_answer_the_bars_are_empty_and_as_many_as_there_are_classes() -> None:
    page = Page(markup.answer_panel(None, num_classes=2))
    assert page.text == markup.HINT
    assert page.tags.count("li") == 2


def test_only_certainty_is_a_hundred_percent() -> None:
    assert [markup.percent(share) for share in (0, 0.9994, 0.99999, 1)] == ["0.0 %", "99.9 %", "&gt; 99.9 %", "100.0 %"]


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_in_a_url_has_the_pixels_that_it_had(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    _, content = markup.data_url(image).split(",")
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert np.array_equal(read.reshape(image.shape), image)


def test_a_run_without_mistakes_says_so() -> None:
    assert "all 1,234 validation images are classified correctly" in markup.mistakes_panel(Mistakes((), 1234, 0))


def test_the_number_of_mistakes_is_said_and_whether_all_are_shown() -> None:
    row = Mistake(IMAGE, "a", "b", 0.9)
    some, every = (Page(markup.mistakes_panel(Mistakes((row, row), 1_800, wrong))).text for wrong in (1_234, 2))
    assert some.startswith("The 2 most confident of 1,234 mistakes on 1,800 validation images.")
    assert every.startswith("Every mistake on 1,800 validation images (2), the most confident first.")
