"""Parquet files: as the Hugging Face hub stores image sets and as tables of pixels, good and broken."""

import io
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from hcr.config.errors import DataError
from hcr.data.formats.parquet import Parquet
from hcr.data.raw import Picture, Raw, RawPart
from hcr.data.readers import parquetcolumns, parquetfile

COUNT = 50
NAMES = ["zero", "one", "あ"]


def images() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 4, 4), np.uint8), np.arange(COUNT) % 3


def png(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "png")
    return content.getvalue()


PICTURES = [png(image) for image in images()[0]]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def hub(names: list[str] | None = None, **columns: Any) -> pa.Table:
    """A table as the hub has them: pictures in a struct, and class names in the metadata of the schema."""
    stored = [{"bytes": content, "path": f"{at}.png"} for at, content in enumerate(PICTURES)]
    table = pa.table({"image": pa.array(stored, STRUCT), "label": pa.array(images()[1])} | columns)
    label = {"names": names, "_type": "ClassLabel"}
    features = {"image": {"_type": "Image"}, "label": label}
    info = {"info": {"features": features}}
    return table.replace_schema_metadata({"huggingface": json.dumps(info)}) if names else table


def config(path: Path, **changes: Any) -> Parquet:
    return Parquet(**({"name": "small", "format": "parquet", "path": str(path)} | changes))


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(table, path, **({"row_group_size": 20} | options))
    return path


def read(folder: Path, table: pa.Table, rows: int = 20, **changes: Any) -> Raw:
    path = write(folder / "small.parquet", table, row_group_size=rows)
    return config(path, **changes).read(path)


def decoded(part: RawPart) -> np.ndarray:
    found = []
    for picture in part.images:
        assert isinstance(picture, Picture)
        assert isinstance(picture.content, bytes)
        found.append(np.asarray(Image.open(io.BytesIO(picture.content))))
    return np.stack(found)


@pytest.mark.parametrize("kind", ["struct", "binary", "large_binary"])
def test_pictures_are_those_that_were_stored_and_know_their_rows(kind: str, tmp_path: Path) -> None:
    table = hub() if kind == "struct" else hub(image=pa.array(PICTURES, pa.type_for_alias(kind)))
    (part,) = read(tmp_path, table).parts
    assert (decoded(part) == images()[0]).all()
    assert part.labels.tolist() == images()[1].tolist()
    assert part.labels.dtype == np.int64
    assert [part.images[at].name for at in (0, 49)] == ["row 1 of small.parquet", "row 50 of small.parquet"]


def test_class_names_are_those_of_the_metadata(tmp_path: Path) -> None:
    assert read(tmp_path, hub(NAMES)).class_names == tuple(NAMES)
    assert read(tmp_path, hub()).class_names is None
    for strange in ("[", "[]", '{"info": 3}', '{"info": {"features": {"label": {"names": [1]}}}}'):
        assert read(tmp_path, hub().replace_schema_metadata({"huggingface": strange})).class_names is None


def test_text_labels_and_groups_stay_text_also_as_categories(tmp_path: Path) -> None:
    labels = pa.array(["7", "あ"] * 25)
    table = hub(label=labels.dictionary_encode(), writer=pa.array([f"w{at // 5}" for at in range(COUNT)]))
    (part,) = read(tmp_path, table, group="writer").parts
    assert part.labels.tolist() == labels.to_pylist()
    assert part.groups is not None
    assert part.groups.tolist() == [f"w{at // 5}" for at in range(COUNT)]


def test_columns_are_recognised_by_name_or_as_the_only_ones_and_can_be_named(tmp_path: Path) -> None:
    table = hub(other=pa.array(PICTURES[::-1]), kind=pa.array(images()[1][::-1]))
    (part,) = read(tmp_path, table).parts
    assert (decoded(part) == images()[0]).all()
    (part,) = read(tmp_path, table, image="other", label="kind").parts
    assert (decoded(part) == images()[0][::-1]).all()
    assert (part.labels == images()[1][::-1]).all()
    (part,) = read(tmp_path, table.select(["other", "kind"])).parts
    assert (part.labels == images()[1][::-1]).all()


@pytest.mark.parametrize("kind", ["list", "lists of lists", "fixed", "columns", "columns without a name", "floats"])
def test_pixels_may_be_lists_or_columns(kind: str, tmp_path: Path) -> None:
    x, y = images()
    flat = x.reshape(COUNT, 16)
    label = {"label": pa.array(y)}
    tables = {
        "list": lambda: label | {"pixels": pa.array(flat.tolist())},
        "lists of lists": lambda: label | {"image": pa.array(x.tolist())},
        "fixed": lambda: label | {"image": pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), 16)},
        "columns": lambda: {f"pixel{at}": flat[:, at] for at in range(15, -1, -1)} | label,
        "columns without a name": lambda: {f"{at}": column for at, column in enumerate([y, *flat.T])},
        "floats": lambda: label | {"image": pa.array((flat / 255).tolist(), pa.list_(pa.float64()))},
    }
    (part,) = read(tmp_path, pa.table(tables[kind]())).parts
    assert isinstance(part.images, np.ndarray)
    assert part.images.dtype == (np.float32 if kind == "floats" else np.uint8)
    np.testing.assert_allclose(part.images.reshape(x.shape), x / 255 if kind == "floats" else x, rtol=1e-6)
    assert (part.labels == y).all()


def test_a_table_of_pixels_that_pandas_saved_is_read_without_its_row_numbers(tmp_path: Path) -> None:
    x, y = images()
    frame = pa.table({f"pixel{at}": x.reshape(COUNT, 16)[:, at] for at in range(16)} | {"label": y}).to_pandas()
    frame.index = frame.index[::-1]
    frame.to_parquet(tmp_path / "small.parquet")
    (part,) = config(tmp_path).read(tmp_path / "small.parquet").parts
    assert (np.asarray(part.images).reshape(x.shape) == x).all()


@pytest.mark.parametrize("inside", ["", "data"])
def test_a_folder_of_shards_is_one_data_set_with_sides(inside: str, tmp_path: Path) -> None:
    table, folder = hub(NAMES), tmp_path / inside
    names = ["train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test-00000-of-00001"]
    for at, name in enumerate(names):
        write(folder / f"{name}.parquet", table.slice(10 * at, 10))
    raw = config(tmp_path).read(tmp_path)
    assert [part.side for part in raw.parts] == ["train", "train", "val", "test"]
    assert [len(part.images) for part in raw.parts] == [10, 10, 10, 10]
    assert (decoded(raw.parts[3]) == images()[0][30:40]).all()
    assert raw.class_names == tuple(NAMES)
    assert config(tmp_path).sources(tmp_path) == [folder / f"{name}.parquet" for name in names]


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    for name in ("train-00000-of-00003", "train-00002-of-00003"):
        write(tmp_path / f"{name}.parquet", hub())
    with pytest.raises(DataError, match=r"expected 3 shards, but train-00001-of-00003\.parquet is missing$"):
        config(tmp_path).read(tmp_path)
    path = tmp_path / "train-00000-of-00003.parquet"
    assert config(path).read(path).notes == (
        "train-00000-of-00003.parquet is one of 3 shards; set dataset.path to its folder to read all",
    )


def test_shards_with_other_class_names_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", hub(NAMES))
    write(tmp_path / "test.parquet", hub(NAMES[::-1]))
    with pytest.raises(DataError, match=r"test\.parquet: expected the class names of train\.parquet, got others"):
        config(tmp_path).read(tmp_path)


def message(folder: Path, table: pa.Table, **changes: Any) -> str:
    with pytest.raises(DataError) as refused:
        read(folder, table, **changes)
    text = str(refused.value)
    assert text.startswith(str(folder / "small.parquet"))
    assert len(text.splitlines()) == 1
    return text


BROKEN: dict[str, tuple[Any, dict[str, str], str]] = {
    "no row": (lambda: hub().slice(0, 0), {}, "expected a row per image, got none"),
    "no picture": (
        lambda: hub(image=pa.array([*PICTURES[:9], None, *PICTURES[10:]])),
        {},
        "row 10: expected a picture",
    ),
    "only paths": (
        lambda: hub(image=pa.array([{"bytes": None, "path": "a.png"}] * COUNT, STRUCT)),
        {},
        "row 1: expected a picture, got none (a picture in a file of its own is not read)",
    ),
    "no labels": (lambda: hub().select(["image"]), {}, "expected one column of labels, got none"),
    "two labels": (lambda: hub().rename_columns(["image", "a"]).append_column("b", [[1] * COUNT]), {}, "got a, b; set"),
    "two images": (
        lambda: hub(other=pa.array(PICTURES)).rename_columns(["a", "label", "b"]),
        {},
        "expected one column of images, got a, b; set dataset.image",
    ),
    "misspelt label": (hub, {"label": "lable"}, "no column 'lable' (dataset.label); did you mean 'label'?"),
    "misspelt image": (hub, {"image": "imag"}, "no column 'imag' (dataset.image); did you mean 'image'?"),
    "no group": (hub, {"group": "writer"}, "no column 'writer' (dataset.group)"),
    "image of numbers": (hub, {"image": "label"}, "expected column 'label' (dataset.image) to have pictures"),
    "null label": (
        lambda: hub(label=pa.array([0, None] * 25)),
        {},
        "column label: expected a value in every row, got null in row 2",
    ),
    "label of bytes": (
        lambda: hub(label=pa.array([b"a"] * COUNT)),
        {},
        "column label: expected numbers or text, got binary",
    ),
    "hidden labels": (
        lambda: hub(NAMES).set_column(1, "label", pa.array(images()[1] - 1)),
        {},
        "column label: expected 0 to 2, got -1 in row 1",
    ),
    "class names twice": (lambda: hub(["a", "b", "a"]), {}, "expected class names that differ"),
    "ragged lists": (
        lambda: hub(image=pa.array([[1] * (at % 2 + 1) for at in range(COUNT)])),
        {},
        "column image: expected images of equal size",
    ),
    "lists of text": (lambda: hub(image=pa.array([["a"]] * COUNT)), {}, "column image: expected lists of numbers"),
    "empty lists": (lambda: hub(image=pa.array([[]] * COUNT, pa.list_(pa.int8()))), {}, "got an empty list"),
    "null pixel": (
        lambda: pa.table({"label": images()[1], "pixel0": [None] * COUNT, "pixel1": [None, 1] * 25}),
        {},
        "column pixel0: expected numbers, one pixel per column, got null",
    ),
    "null pixels": (
        lambda: pa.table({"label": images()[1], "pixel0": [1, None] * 25, "pixel1": [None, 1] * 25}),
        {},
        "row 2, column pixel0: expected a number, got null",
    ),
    "text pixels": (
        lambda: pa.table({"label": images()[1], "pixel0": ["a"] * COUNT, "pixel1": images()[1]}),
        {"label": "label"},
        "column pixel0: expected numbers, one pixel per column, got string",
    ),
    "line ends in names": (lambda: hub().rename_columns(["image", "la\nbel"]), {"label": "x\n"}, r"no column 'x\n'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_table_without_images_or_labels_is_one_line_that_says_where(case: str, tmp_path: Path) -> None:
    table, changes, expected = BROKEN[case]
    assert expected in message(tmp_path, table(), **changes)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(99) + b"PAR1", b"\xff" * 99, b"label,a\n1,2\n"])
def test_another_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "small.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"small\.parquet: no readable parquet file; it may be damaged or cut short \("):
        config(tmp_path).read(tmp_path / "small.parquet")


def test_more_than_memory_holds_is_refused_from_what_the_file_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = pa.table({"label": np.zeros(100_000, int)} | {f"pixel{at}": np.zeros(100_000, np.uint8) for at in range(9)})
    for module in (parquetfile, parquetcolumns):
        monkeypatch.setattr(module, "most_bytes", lambda: 1_000_000)
    assert "expected a data set that fits into memory" in message(tmp_path, zeros, rows=100_000)
    assert (tmp_path / "small.parquet").stat().st_size < 100_000


def test_one_picture_repeated_by_reference_is_counted_as_often_as_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"image": pa.array([bytes(50_000)] * 1000), "label": np.zeros(1000, int)})
    for module in (parquetfile, parquetcolumns):
        monkeypatch.setattr(module, "most_bytes", lambda: 10_000_000)
    assert "expected a data set that fits into memory" in message(tmp_path, table, rows=1000)
    assert (tmp_path / "small.parquet").stat().st_size < 100_000


# In a process of its own: a crash of the library must fail the test, not end the tests.
BROKEN_AT = textwrap.dedent("""
    import sys
    from pathlib import Path
    import numpy as np
    from hcr.config.errors import DataError
    from hcr.data.formats.parquet import Parquet

    path = Path(sys.argv[1])
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    if sys.argv[2] == "cut":
        cases = [content[:length] for length in np.linspace(0, len(content) - 1, 200).astype(int)]
    else:
        cases = []
        for at, bit in zip(rng.integers(0, len(content), 200), rng.integers(0, 8, 200)):
            flipped = bytearray(content)
            flipped[at] ^= 1 << bit
            cases.append(bytes(flipped))
    refused = 0
    for case in cases:
        path.write_bytes(case)
        try:
            raw = Parquet(name="small", format="parquet", path=str(path)).read(path)
        except DataError as error:
            assert len(str(error).splitlines()) == 1, str(error)
            refused += 1
        else:
            assert all(len(part.images) == len(part.labels) for part in raw.parts)
    print(refused)
""")


@pytest.mark.parametrize("how", ["cut", "flipped"])
@pytest.mark.parametrize("kind", ["pictures", "columns"])
def test_a_file_cut_at_200_lengths_or_with_one_of_200_bits_flipped_is_read_or_refused_in_one_line(
    how: str, kind: str, tmp_path: Path
) -> None:
    x, y = images()
    columns = {f"pixel{at}": x.reshape(COUNT, 16)[:, at] for at in range(16)}
    table = hub(NAMES) if kind == "pictures" else pa.table({"label": y} | columns)
    path = write(tmp_path / "small.parquet", table, write_page_checksum=True)
    done = subprocess.run(
        [sys.executable, "-c", BROKEN_AT, str(path), how], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == 200 if how == "cut" else 0 < int(done.stdout) < 200


def test_a_flipped_bit_in_a_picture_is_seen_by_the_checksum_of_its_page(tmp_path: Path) -> None:
    path = write(tmp_path / "small.parquet", hub(), write_page_checksum=True, compression="none")
    content = bytearray(path.read_bytes())
    content[content.index(PICTURES[30]) + 40] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="no readable parquet file; it may be damaged or cut short"):
        config(path).read(path)
