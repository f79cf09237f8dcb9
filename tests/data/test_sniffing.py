"""Which format reads a file or folder."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.io
from PIL import Image
from pyarrow import parquet

from hcr.data.sniffing import MOST_ENTRIES, format_of, sniff

ROW = "3," + ",".join(["0"] * 16) + "\n"


def write_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=np.zeros((2, 4, 4)), y=np.arange(2))


def write_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((2, 4, 4)))


def write_mat(path: Path) -> None:
    with path.open("wb") as file:
        scipy.io.savemat(file, {"data": np.zeros((4, 4))})


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "npz": ("npz", write_npz),
    "npy": ("npz", write_npy),
    "mat": ("mat", write_mat),
    "parquet": ("parquet", lambda path: parquet.write_table(pa.table({"label": [1]}), path)),
    "idx": ("idx", lambda path: path.write_bytes(b"\0\0\x08\x01\0\0\0\x02ab")),
    "idx.gz": ("idx", lambda path: path.write_bytes(gzip.compress(b"\0\0\x08\x03" + bytes(5000)))),
    "csv": ("csv", lambda path: path.write_text(ROW)),
    "csv.gz": ("csv", lambda path: path.write_bytes(gzip.compress(ROW.encode() * 1000))),
    "tsv": ("csv", lambda path: path.write_text(ROW.replace(",", "\t"))),
    "blanks": ("csv", lambda path: path.write_text(ROW.replace(",", " "))),
    "long.csv": ("csv", lambda path: path.write_text("0," * 9000 + "0\n")),
    "あ.csv": ("csv", lambda path: path.write_text("あ,0,0\n" * 900)),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["liar.npz", "liar.csv", "plain"])
def test_the_content_of_a_file_decides_not_its_name(kind: str, name: str, tmp_path: Path) -> None:
    expected, write = WRITERS[kind]
    write(tmp_path / name)
    assert sniff(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("x.csv", "csv"), ("x.MAT", "mat"), ("x.parquet", "parquet"), ("x", None)]
)
def test_the_name_of_an_empty_file_decides(name: str, expected: str | None, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert sniff(tmp_path / name) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"hello, world\n",
        b"some words in a sentence\n",
        b"<html><body>a, b, c, d</body></html>",
        json.dumps({"a": 1, "b": 2, "c": 3}).encode(),
        b"PK\x03\x04" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\x80\x04\x95" + bytes(100),
        bytes(range(256)),
        b"\x1f\x8b" + bytes(100),
    ],
)
def test_another_kind_of_file_has_no_format(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    assert sniff(tmp_path / "x") is None


def test_every_beginning_of_a_file_is_looked_at_without_an_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, (_, write) in WRITERS.items():
        write(tmp_path / kind)
        content = (tmp_path / kind).read_bytes()[:300]
        for length in range(len(content)):
            flipped = bytearray(content[:length] or b"\0")
            flipped[rng.integers(len(flipped))] ^= 1 << rng.integers(8)
            assert format_of(bytes(flipped)) in (None, "npz", "mat", "parquet", "idx", "csv")


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)


def test_a_folder_of_pictures_by_class_is_recognised_with_and_without_sides(tmp_path: Path) -> None:
    for at in range(2):
        picture(tmp_path / f"plain/{at}/a.png")
        picture(tmp_path / f"sides/train/{at}/a.png")
        picture(tmp_path / f"sides/test/{at}/a.png")
    picture(tmp_path / "flat/a.png")
    assert sniff(tmp_path / "plain") == sniff(tmp_path / "sides") == "folder"
    assert sniff(tmp_path / "flat") is None
    (tmp_path / "flat/labels.csv").write_text("file,label\na.png,x\n")
    assert sniff(tmp_path / "flat") == "folder"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("csv", ["mnist_train.csv", "mnist_test.csv"]),
        ("parquet", ["train-00000-of-00001.parquet", "README.md"]),
        ("parquet", ["data/train-00000-of-00001.parquet", "README.md"]),
        ("idx", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]),
        ("npz", ["train-imgs.npz", "train-labels.npz"]),
    ],
)
def test_a_folder_of_files_has_their_format(kind: str, names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith(".md"):
            (tmp_path / name).write_text("a, b, c, d\n")
        else:
            WRITERS[kind][1](tmp_path / name)
    assert sniff(tmp_path) == kind


def test_what_cannot_be_read_has_no_format_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "up").symlink_to(tmp_path)
    for path in (tmp_path, tmp_path / "fifo.csv", tmp_path / "loop", tmp_path / "none", Path("a\0b")):
        assert sniff(path) is None


def test_a_large_folder_is_not_listed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Entry:
        name = "x.txt"

        def is_dir(self) -> bool:
            seen.append(self)
            return False

    class Entries:
        def __enter__(self) -> "Entries":
            return self

        def __exit__(self, *_: object) -> None: ...

        def __iter__(self) -> "Entries":
            return self

        def __next__(self) -> Entry:
            return Entry()

    monkeypatch.setattr(os, "scandir", lambda _: Entries())
    assert sniff(tmp_path) is None
    assert len(seen) == MOST_ENTRIES
