"""What the demo answers, without a page or a trained model."""

import base64
import io
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hcr.config import DataError
from hcr.demo.answers import MOST_BYTES, answer, read_submission, top_classes


@dataclass
class Model:
    """Stands in for a Recognizer: always the same probabilities."""

    class_names: tuple[str, ...] = tuple("abcdefg")
    asked: list[NDArray[np.uint8]] = field(default_factory=list)

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image[:8, :8]

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.asked += list(images)
        return np.array([[0.05, 0.3, 0.1, 0.3, 0.05, 0.15, 0.05]], np.float32)


def url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


INK = np.zeros((20, 20), np.uint8)
INK[3:9, 4:6] = 255


def test_the_five_most_probable_classes_come_in_order_and_of_equal_ones_the_lower_label() -> None:
    found = answer(Model(), {"image": url(png(INK))})
    assert found is not None
    assert [each.name for each in found.classes] == ["b", "d", "f", "c", "a"]
    assert [each.probability for each in found.classes] == pytest.approx([0.3, 0.3, 0.15, 0.1, 0.05])


def test_of_two_classes_both_are_shown() -> None:
    assert [each.name for each in top_classes(np.array([0.2, 0.8]), ["no", "yes"])] == ["yes", "no"]


def test_the_image_of_an_answer_is_the_one_that_the_model_took() -> None:
    model = Model()
    found = answer(model, {"image": url(png(INK))})
    assert found is not None
    assert np.array_equal(found.image, model.asked[0])
    assert np.array_equal(found.image, INK[:8, :8, np.newaxis])


@pytest.mark.parametrize("color", [(0, 0, 0), (90, 90, 90), (255, 255, 255), (255, 30, 0)])
def test_a_blank_image_of_any_colour_is_not_classified(color: tuple[int, int, int]) -> None:
    model = Model()
    assert answer(model, {"image": url(png(np.full((20, 20, 3), color, np.uint8)))}) is None
    assert answer(model, {}) is None
    assert model.asked == []


def bomb(side: int) -> bytes:
    """A PNG of side x side pixels in a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"hello, I am no picture", r"^my\.png: expected a picture"),
        (png(INK)[:-30], r"^my\.png: expected a whole picture"),
        (bomb(60_000), r"^my\.png: expected .*at most .* pixels"),
        (bomb(9_000), r"^my\.png: expected at most 67,108,864 pixels, got 9,000 x 9,000"),
        (b"", r"^my\.png: expected a picture, got an empty file"),
    ],
    ids=["text", "cut", "huge", "bomb", "empty"],
)
def test_a_hostile_file_is_refused_in_one_line_that_names_it(content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as refused:
        answer(Model(), {"name": "my.png", "image": url(content)})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("image", ["nonsense", "data:image/png;base64,%%%", "data:image/png;base64", 7, ["a"]])
def test_what_no_page_sends_is_refused(image: object) -> None:
    with pytest.raises(DataError, match=r"^drawing: expected a picture as a data URL$"):
        read_submission({"image": image})


def test_a_file_that_was_not_sent_because_of_its_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(DataError, match=r"^scan\.tif: expected at most 16 MB, got 25\.0 MB$"):
        read_submission({"name": "scan.tif", "size_bytes": 25_000_000})
    assert MOST_BYTES < 25_000_000


def test_a_name_is_one_printable_line_that_keeps_its_ending() -> None:
    with pytest.raises(DataError) as refused:
        answer(Model(), {"name": f"a\nb\u202e{'x' * 300}.jpeg", "image": url(b"x")})
    name = str(refused.value).split(": expected")[0]
    assert name.startswith("a\\nb\\u202ex")
    assert name.endswith("x.jpeg")
    assert len(name) < 70
