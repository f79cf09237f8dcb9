"""Files, folders, patterns and standard input name images; each is prepared, or said to be none."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hcr.config.errors import DataError
from hcr.recognition import files
from hcr.recognition.files import pictures_of, prepare_all
from hcr.recognition.preparer import Preparer

PREPARER = Preparer(image_shape=(8, 8, 1), source_size=(8, 8), made_as=None, color="gray", fit="stretch", is_light=None)


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans/deep").mkdir(parents=True)
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    for number, name in enumerate(["b.png", "a.PNG", "deep/c.jpg", "[1].png"]):
        Image.fromarray(pixels + np.uint8(number)).save(tmp_path / "scans" / name)
    (tmp_path / "scans/notes.txt").write_text("not an image")
    return tmp_path / "scans"


def names(*words: str) -> list[str]:
    return [picture.name for picture in pictures_of(words)]


@pytest.mark.usefixtures("scans")
def test_a_folder_names_all_pictures_below_it_in_order() -> None:
    assert names("scans") == ["scans/[1].png", "scans/a.PNG", "scans/b.png", "scans/deep/c.jpg"]


@pytest.mark.usefixtures("scans")
def test_a_quoted_pattern_is_expanded() -> None:
    assert names("scans/*.png", "scans/a.*") == ["scans/[1].png", "scans/b.png", "scans/a.PNG"]
    assert names("scans/**/*.jpg") == ["scans/deep/c.jpg"]
    assert names("scans/d*") == ["scans/deep/c.jpg"]


@pytest.mark.usefixtures("scans")
def test_a_file_whose_name_looks_like_a_pattern_is_that_file() -> None:
    assert names("scans/[1].png") == ["scans/[1].png"]


@pytest.mark.parametrize(
    ("word", "message"), [("scans/*.gif", "expected files that match"), ("empty", "expected pictures")]
)
def test_what_names_no_image_is_refused(scans: Path, word: str, message: str) -> None:
    (scans.parent / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        pictures_of([word])


def test_standard_input_is_one_image(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((scans / "b.png").read_bytes())))
    ((_, batch),) = prepare_all(pictures_of(["-"]), PREPARER)
    assert batch.rows == (0,) and (batch.images[0, ..., 0] == np.asarray(Image.open(scans / "b.png"))).all()


@pytest.mark.parametrize(("content", "message"), [(b"", "got none"), (b"x" * 65, "at most 64 bytes")])
def test_no_bytes_or_too_many_on_standard_input_are_refused(
    monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    monkeypatch.setattr(files, "MOST_STDIN_BYTES", 64)
    with pytest.raises(DataError, match=message):
        pictures_of(["-"])


def test_files_that_are_no_images_do_not_stop_the_others(scans: Path) -> None:
    os.mkfifo("pipe.png")
    words = ["scans/b.png", "scans/notes.txt", "scans/missing.png", "scans/a.PNG", "n" * 5_000, "pipe.png"]
    ((_, batch),) = prepare_all(pictures_of(words), PREPARER)
    assert batch.rows == (0, 3) and len(batch.images) == 2
    assert [position for position, _ in batch.broken] == [1, 2, 4, 5]
    assert batch.broken[0][1].startswith("scans/notes.txt: expected a picture")
    assert "No such file" in batch.broken[1][1] and "File name too long" in batch.broken[2][1]
    assert batch.broken[3][1] == "pipe.png: expected a file; - reads standard input"
    assert scans.is_dir()


@pytest.mark.usefixtures("scans")
def test_several_processes_give_the_same_images_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = pictures_of(["scans"]) * 40
    alone = list(prepare_all(pictures, PREPARER))
    monkeypatch.setattr(files, "FEW", 100)
    together = list(prepare_all(pictures, PREPARER))
    assert [first for first, _ in together] == [first for first, _ in alone] == [0, 64, 128]
    for (_, own), (_, other) in zip(alone, together, strict=True):
        assert own.rows == other.rows and (own.images == other.images).all()
