"""CSV files: the layouts that people have, read alike, and one line for each way to be broken."""

import gzip
import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hcr.config.errors import DataError
from hcr.data.formats.csv import Csv
from hcr.data.raw import Raw
from hcr.data.readers import csvfile, textblocks
from hcr.data.readers.columns import in_image_order, is_header, was_made_unique

PIXELS = 16
COUNT = 30


def config(path: Path, **changes: Any) -> Csv:
    return Csv(**({"name": "small", "format": "csv", "path": str(path)} | changes))


def images(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images whose first and last pixel are mostly 0, as at a border."""
    x = np.random.default_rng(seed).integers(0, 256, (COUNT, PIXELS))
    x[:, 0] = x[3:, -1] = 0
    return x, np.arange(COUNT) % 3


def lines(columns: Sequence[Any], separator: str = ",", end: str = "\n") -> str:
    """Rows of the columns (N,) and tables (N, K), side by side."""
    table = [np.asarray(column).reshape(len(column), -1) for column in columns]
    return "".join(
        separator.join(str(cell) for part in table for cell in part[row].tolist()) + end for row in range(len(table[0]))
    )


NAMES = ",".join(f"pixel{at}" for at in range(PIXELS))
HEADER = f"label,{NAMES}\n"


def read(folder: Path, content: str | bytes, name: str = "small.csv", **changes: Any) -> Raw:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return config(path, **changes).read(path)


def check(raw: Raw, dtype: Any = np.uint8) -> None:
    """The one part of `raw` has the images and labels of `images()`."""
    x, y = images()
    (part,) = raw.parts
    assert isinstance(part.images, np.ndarray)
    assert part.images.dtype == dtype
    assert (part.images == x).all()
    assert (part.labels == y).all()
    assert part.side == "train"


LAYOUTS: dict[str, str] = {
    "a header": HEADER + lines(images()[::-1]),
    "windows": HEADER.replace("\n", "\r\n") + lines(images()[::-1], end="\r\n"),
    "old mac": (HEADER + lines(images()[::-1])).replace("\n", "\r"),
    "byte order mark": "\ufeff" + HEADER + lines(images()[::-1]),
    "no last line end": (HEADER + lines(images()[::-1])).removesuffix("\n"),
    "blank lines": HEADER + "\n" + lines(images()[::-1]) + "\n\n",
    "no header": lines(images()[::-1]),
    "last": lines(images()),
    "last with a header": NAMES + ",Class\n" + lines(images()),
    "an unusual name": HEADER.replace("label", "digit") + lines(images()[::-1]),
    "semicolons": lines(images()[::-1], ";"),
    "tabs": lines(images()[::-1], "\t"),
    "blanks": lines(images()[::-1], "  ", " \n"),
    "counted columns": ",".join(map(str, range(PIXELS + 1))) + "\n" + lines(images()[::-1]),
    "repeated zeros": "0," + ",".join(f"0.{at}" for at in range(1, PIXELS + 1)) + "\n" + lines(images()[::-1]),
    "quotes": '"label","' + NAMES.replace(",", '","') + '"\n' + lines(images()[::-1]),
    "pandas with row numbers": pd.DataFrame(
        np.column_stack(images()[::-1]), columns=["label", *NAMES.split(",")]
    ).to_csv(),
    "floats that are whole labels": lines([images()[1].astype(float), images()[0]]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("is_packed", [False, True])
def test_every_usual_layout_gives_the_same_images_and_labels(layout: str, is_packed: bool, tmp_path: Path) -> None:
    content = LAYOUTS[layout].encode()
    check(read(tmp_path, gzip.compress(content) if is_packed else content))


@pytest.mark.parametrize("layout", ["no header", "repeated zeros", "pandas with row numbers"])
def test_what_was_guessed_is_said(layout: str, tmp_path: Path) -> None:
    said = "".join(read(tmp_path, LAYOUTS[layout]).notes)
    expected = {
        "no header": "first column",
        "repeated zeros": "0,0.1,0.2,0.3,...",
        "pandas with row numbers": "row numbers",
    }
    assert expected[layout] in said
    assert read(tmp_path, LAYOUTS["a header"]).notes == ()


def test_names_that_pandas_makes_of_an_image_are_a_header_and_an_image_is_none(tmp_path: Path) -> None:
    x, y = images()
    table = pd.read_csv(Path(write(tmp_path, lines([y, x]))))
    assert was_made_unique([str(name) for name in table.columns])
    for row in np.column_stack([y, x]).tolist():
        assert not is_header([str(cell) for cell in row])
    assert not is_header(["あ", *map(str, x[1])])
    assert not is_header(["0.5", "0.25", "0.125", "0.75"])


def write(folder: Path, content: str, name: str = "small.csv") -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def test_text_labels_stay_text_and_groups_are_a_column_by_name(tmp_path: Path) -> None:
    x, _ = images()
    letters, writers = ["a", "あ", "+"] * 10, [f"w{at // 5}" for at in range(COUNT)]
    raw = read(tmp_path, f"writer,{HEADER}" + lines([writers, letters, x]), group="writer")
    (part,) = raw.parts
    assert part.labels.tolist() == letters
    assert part.groups is not None
    assert part.groups.tolist() == writers
    assert (part.images == x).all()
    assert read(tmp_path, lines([letters, x])).parts[0].labels.tolist() == letters
    assert read(tmp_path, lines([x, letters])).parts[0].labels.tolist() == letters


def test_digits_and_letters_as_labels_are_text(tmp_path: Path) -> None:
    labels = [str(at) for at in range(10)] * 2 + list("abcdefghij")
    assert read(tmp_path, HEADER + lines([labels, images()[0]])).parts[0].labels.tolist() == labels


def test_a_label_column_that_is_named_by_the_config_is_taken(tmp_path: Path) -> None:
    x, y = images()
    content = NAMES.replace("pixel3", "kind") + "\n" + lines([np.where(np.arange(PIXELS) == 3, y[:, None], x)])
    (part,) = read(tmp_path, content, label="kind").parts
    assert (part.labels == y).all()
    assert (part.images == np.delete(x, 3, axis=1)).all()
    assert (read(tmp_path, lines([y, x]), label="last").parts[0].labels == x[:, -1]).all()


@pytest.mark.parametrize("names", [[f"{at // 4 + 1}x{at % 4 + 1}" for at in range(16)], NAMES.split(",")])
def test_columns_of_pixels_are_put_in_the_order_of_their_numbers(names: list[str], tmp_path: Path) -> None:
    x, y = images()
    order = np.random.default_rng(1).permutation(PIXELS)
    header = ",".join(["label", *(names[at] for at in order)])
    raw = read(tmp_path, f"{header}\n" + lines([y, x[:, order]]))
    check(raw)
    assert "put in order" in raw.notes[0]


def test_names_without_an_order_keep_the_order_of_the_file() -> None:
    assert in_image_order(["a", "c", "b"], [0, 1, 2]) == [0, 1, 2]
    assert in_image_order(["pixel2", "pixel10", "pixel2"], [0, 1, 2]) == [0, 1, 2]
    assert in_image_order(["pixel10", "pixel2"], [0, 1]) == [1, 0]


@pytest.mark.parametrize(
    ("scale", "dtype"), [(1, np.uint8), (-1, np.int16), (200, np.uint16), (100_000, np.int32), (1 / 255, np.float32)]
)
def test_numbers_keep_their_kind_in_the_smallest_type(scale: float, dtype: Any, tmp_path: Path) -> None:
    x, y = images()
    (part,) = read(tmp_path, HEADER + lines([y, x * scale])).parts
    assert isinstance(part.images, np.ndarray)
    assert part.images.dtype == dtype
    np.testing.assert_allclose(part.images, x * scale, rtol=1e-6)


def test_a_file_of_many_blocks_is_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textblocks, "BLOCK_BYTES", 100)
    for content in LAYOUTS.values():
        check(read(tmp_path, content))
    x, y = images()
    x[-1, 3] = 70_000
    (part,) = read(tmp_path, HEADER + lines([y, x])).parts
    assert (part.images == x).all()


def test_a_test_file_beside_it_is_taken_and_noted(tmp_path: Path) -> None:
    x, y = images()
    x_test, y_test = images(seed=1)

    def usps(x: np.ndarray, y: np.ndarray) -> bytes:
        rows = [
            f"{label:.4f} " + " ".join(f"{v:.3f}" for v in row) for label, row in zip(y, x / 127.5 - 1, strict=True)
        ]
        return gzip.compress("".join(f"{row} \n" for row in rows).encode())

    (tmp_path / "zip.test.gz").write_bytes(usps(x_test, y_test))
    raw = read(tmp_path, usps(x, y), "zip.train.gz")
    train, test = raw.parts
    assert (train.side, test.side) == ("train", "test")
    np.testing.assert_allclose(test.images, x_test / 127.5 - 1, atol=1e-3)
    assert (test.labels == y_test).all()
    assert any("zip.test.gz" in note for note in raw.notes)
    cfg = config(tmp_path / "zip.train.gz")
    assert cfg.sources(tmp_path / "zip.train.gz") == [tmp_path / "zip.train.gz", tmp_path / "zip.test.gz"]
    assert len(read(tmp_path, usps(x, y), "zip.train.gz", has_official_test=False).parts) == 1


def test_competition_images_without_labels_are_left_out(tmp_path: Path) -> None:
    x, y = images()
    write(tmp_path, NAMES + "\n" + lines([x]), "test.csv")
    raw = read(tmp_path, HEADER + lines([y, x]), "train.csv")
    check(raw)
    assert raw.notes == ("test.csv beside train.csv has no labels, and is not read",)


def test_a_folder_has_a_file_for_each_side(tmp_path: Path) -> None:
    x, y = images()
    for side in ("train", "valid", "test"):
        write(tmp_path, HEADER + lines([y, x]), f"sign_mnist_{side}.csv")
    write(tmp_path, "a,b\n", "sample_submission.csv")
    raw = config(tmp_path).read(tmp_path)
    assert [part.side for part in raw.parts] == ["train", "val", "test"]
    assert raw.notes == ("not read, as no word of the name is train, val or test: sample_submission.csv",)
    assert len(config(tmp_path).sources(tmp_path)) == 3


def test_the_training_images_say_where_the_labels_of_the_test_images_are(tmp_path: Path) -> None:
    x, y = images()
    write(tmp_path, lines([x[:, ::-1], np.zeros(COUNT, int)]), "test.csv")  # alone, its labels would be a border
    write(tmp_path, lines([x, y]), "train.csv")
    assert (config(tmp_path).read(tmp_path).parts[1].labels == 0).all()


def test_a_test_path_is_the_official_test(tmp_path: Path) -> None:
    other = write(tmp_path, HEADER + lines(images(1)[::-1]), "other.csv")
    raw = read(tmp_path, HEADER + lines(images()[::-1]), test_path=other)
    assert [part.side for part in raw.parts] == ["train", "test"]
    assert (raw.parts[1].images == images(1)[0]).all()


ROWS = lines(images()[::-1]).splitlines(keepends=True)


def with_row(row: str) -> str:
    """A file whose line 17 is `row`."""
    return HEADER + "".join(ROWS[:15]) + row + "\n" + "".join(ROWS[16:])


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "short": (with_row("1,2,3"), "line 17: expected 17 columns, got 3"),
    "long": (with_row("1" + ",0" * 17), "line 17: expected 17 columns, got 18"),
    "text": (with_row("1,0,0,0,abc" + ",0" * 12), "line 17, column pixel3: expected a number, got 'abc'"),
    "empty cell": (with_row("1,0,0,0," + ",0" * 12), "line 17, column pixel3: expected a number, got an empty cell"),
    "nan": (with_row("1,0,0,0,NaN" + ",0" * 12), "line 17, column pixel3: expected a number, got 'NaN'"),
    "infinite": (with_row("1,0,0,0,1e99" + ",0" * 12), "line 17, column pixel3: expected a number, got '1e99'"),
    "no label": (with_row("" + ",0" * 16), "column label: expected a value in every row, got an empty cell in row 16"),
    "nan label": (with_row("NaN" + ",0" * 16), "column label: expected a value in every row, got 'NaN' in row 16"),
    "open quote": (with_row('"1' + ",0" * 16), "line 17: expected 17 columns, got 1; a quotation mark is not closed"),
    "long label": (with_row("x" * 300 + ",0" * 16), "column label: expected at most 200 characters in a cell, got 300"),
    "line end in text": (
        with_row('1,0,0,0,"a\nb"' + ",0" * 12),
        r"line 17, column pixel3: expected a number, got 'a\\n",
    ),
    "empty": ("", "expected rows of numbers, got an empty file"),
    "only a mark": (b"\xef\xbb\xbf", "expected rows of numbers, got"),
    "blank": ("\n\n\n", "got only blank lines"),
    "only a header": (HEADER, "got only a header"),
    "only labels": ("label\n1\n2\n", "got 1 column"),
    "only pixels": (f"{NAMES}\n" + lines([images()[0]]), "expected a column of labels, got only pixels (pixel0, "),
    "UTF-16": (lines(images()).encode("utf-16"), "UTF-16; save it again as UTF-8"),
    "UTF-16 without a mark": (lines(images()).encode("utf-16-be"), "UTF-16; save it again as UTF-8"),
    "Latin-1": (
        lines([["é", "b", "c"] * 10, images()[0]]).encode("latin-1"),
        "line 1, column 1: expected text in UTF-8",
    ),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), "got one PNG picture"),
    "binary": (bytes(range(256)) * 9, "got binary data"),
    "binary later": (HEADER + "".join(ROWS) * 99 + "\0", f"line {2 + 99 * COUNT}: expected text, got a zero byte"),
    "a zip archive": (b"PK\x03\x04" + bytes(99), "got a zip archive; unpack it first"),
    "an archive of arrays": (b"PK\x03\x04" + bytes(22) + b"\x05\0\0\0x.npy", "got a file that dataset=npz reads"),
    "cut short": (gzip.compress(HEADER.encode())[:-12], "the .gz file is cut short or damaged"),
    "a wrong checksum": (gzip.compress(HEADER.encode())[:-8] + bytes(8), "the .gz file is cut short or damaged"),
    "too many columns": (",".join(["0"] * 200_001), "expected at most 200,000 columns, got 200,001"),
    "a long line": (b"0," * 5_100_000, "line 1: expected at most 10,000,000 bytes in a line"),
    "a long line later": (HEADER + "0," * 5_100_000, "line 2: expected at most 10,000,000 bytes in a line"),
    "two columns of text": (lines([["a"] * COUNT, images()[0], ["b"] * COUNT]), "set dataset.label"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_line_that_says_where(case: str, tmp_path: Path) -> None:
    content, expected = BROKEN[case]
    assert expected in message(tmp_path, content)


def message(folder: Path, content: str | bytes, **changes: Any) -> str:
    with pytest.raises(DataError) as refused:
        read(folder, content, **changes)
    text = str(refused.value)
    assert "small.csv" in text
    assert len(text.splitlines()) == 1
    return text


def test_an_unknown_column_is_one_line(tmp_path: Path) -> None:
    content = HEADER + "".join(ROWS)
    assert "no column 'lable' (dataset.label); did you mean 'label'?" in message(tmp_path, content, label="lable")
    assert "no column 'writer' (dataset.group)" in message(tmp_path, content, group="writer")
    for key in ("label", "group"):
        assert f"dataset.{key}: expected" in message(tmp_path, "".join(ROWS), **{key: "x"})
    strange = '"la\nbel",' + NAMES + "\n" + "".join(ROWS)
    check(read(tmp_path, strange, label="la\nbel"))
    assert r"la\nbel" in message(tmp_path, strange, label="nothing")


def test_a_side_with_another_number_of_pixels_is_refused(tmp_path: Path) -> None:
    x, y = images()
    other = write(tmp_path, lines([y, x[:, :9]]), "other.csv")
    with pytest.raises(DataError, match=r"other\.csv: expected 16 columns of pixels, as in the training images, got 9"):
        read(tmp_path, HEADER + lines([y, x]), test_path=other)


def test_a_test_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("none.csv", "fifo"):
        with pytest.raises(DataError, match=r"^dataset\.test_path: expected a file"):
            read(tmp_path, "".join(ROWS), test_path=str(tmp_path / name))


def test_a_folder_that_says_no_side_or_one_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got none"):
        config(tmp_path).read(tmp_path)
    for name in ("a.csv", "b.csv"):
        write(tmp_path, "".join(ROWS), name)
    with pytest.raises(DataError, match=r"the word train in its name, and optionally val and test, got a\.csv"):
        config(tmp_path).read(tmp_path)
    for name in ("train_a.csv", "train_b.csv"):
        write(tmp_path, "".join(ROWS), name)
    with pytest.raises(DataError, match=r"expected one file of train images, got train_a\.csv, train_b\.csv"):
        config(tmp_path).read(tmp_path)


def test_a_bomb_is_left_when_it_is_larger_than_memory_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress((HEADER + "0,\n" * 10).encode() + b"0,0\n" * 10_000_000, 1)
    monkeypatch.setattr(csvfile, "most_bytes", lambda: 1_000_000)
    tracemalloc.start()
    assert "expected a data set that fits into memory" in message(tmp_path, packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * textblocks.BLOCK_BYTES


def survives(folder: Path, content: bytes, name: str) -> bool:
    """True if `content` is read, False if it is refused in one line; anything else fails."""
    try:
        raw = read(folder, content, name)
    except DataError as error:
        assert len(str(error).splitlines()) == 1
        return False
    assert all(len(part.images) == len(part.labels) for part in raw.parts)
    return True


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_file_cut_at_200_lengths_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content = (HEADER + "".join(ROWS)).encode()
    content = gzip.compress(content) if name.endswith("gz") else content
    read_lengths = [
        length
        for length in np.linspace(0, len(content) - 1, 200).astype(int)
        if survives(tmp_path, content[:length], name)
    ]
    assert not name.endswith("gz") or not read_lengths


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_file_with_one_of_200_bits_flipped_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content = (HEADER + "".join(ROWS)).encode()
    content = gzip.compress(content) if name.endswith("gz") else content
    rng = np.random.default_rng(0)
    for at, bit in zip(rng.integers(0, len(content), 200), rng.integers(0, 8, 200), strict=True):
        flipped = bytearray(content)
        flipped[at] ^= 1 << bit
        if survives(tmp_path, bytes(flipped), name) and name.endswith("gz"):
            check(read(tmp_path, bytes(flipped), name))  # a bit of the time in the header, which says nothing
