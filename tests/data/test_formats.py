"""One data set, however it is saved: the same digest, the same split, the same images."""

import gzip
import io
import struct
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from hcr.data.dataset import Dataset
from hcr.data.formats import DataFormat, FileFormat
from hcr.data.formats.csv import Csv
from hcr.data.formats.folder import Folder
from hcr.data.formats.idx import Idx
from hcr.data.formats.mat import Mat
from hcr.data.formats.npz import Npz
from hcr.data.formats.parquet import Parquet
from hcr.data.formats.sklearn import _rows
from hcr.data.loading import load_dataset
from hcr.data.splits import Split
from hcr.data.splits.auto import Auto
from hcr.data.splits.kfold import Kfold
from hcr.data.splits.stratified import Stratified
from hcr.data.splitting import Splits, load_splits

COUNT, TRAIN = 300, 200
DIGITS = load_digits()
PIXELS = np.rint(DIGITS.images[:COUNT] * (255 / 16)).astype(np.uint8)
LABELS = DIGITS.target[:COUNT].astype(np.int64)
WRITERS = np.arange(COUNT) // 10 + 1  # 1 to 30: as text, "10" sorts before "2"
SIDES = {"train": slice(0, TRAIN), "test": slice(TRAIN, COUNT)}
PAGE = 255 - PIXELS // 2  # dark ink on light paper


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


SHARES = {"validation": 0.2, "test": 0.2, "test_seed": 0}
SPLITS: dict[str, Split] = {
    "auto": Auto(name="auto", **SHARES),
    "stratified": Stratified(name="stratified", **SHARES),
    "kfold": Kfold(name="kfold", folds=3, fold=1, test=0.2, test_seed=0),
}


def loaded(cfg: DataFormat, split: str = "auto") -> tuple[Dataset, Splits]:
    """The data set and its split."""
    return load_dataset(cfg), load_splits(cfg, SPLITS[split], seed=3)


def of(kind: type[FileFormat], path: Path, **settings: Any) -> FileFormat:
    return kind(name="digits", format=kind.__name__.lower(), path=str(path), **settings)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


# The data set with official test images.


def as_mat(folder: Path) -> FileFormat:
    from scipy.io import savemat

    arrays = {"data": PIXELS.reshape(COUNT, -1).T, "label": LABELS[np.newaxis].astype(float)}
    savemat(folder / "x.mat", arrays, do_compression=True)
    return of(Mat, folder / "x.mat", train_images=TRAIN)


def as_idx(folder: Path, packed: bool = False) -> FileFormat:
    for side, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = PIXELS[SIDES[side]], LABELS[SIDES[side]].astype(np.uint8)
        for name, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
            content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    return of(Idx, folder)


def as_idx_gz(folder: Path) -> FileFormat:
    return as_idx(folder, packed=True)


def arrays(dtype: str = "u1") -> dict[str, np.ndarray]:
    pixels = {"u1": PIXELS, "f4": (PIXELS / 255).astype("f4"), "i8": PIXELS.astype("i8")}[dtype]
    return {f"{what}_{side}": array[SIDES[side]] for side in SIDES for what, array in (("x", pixels), ("y", LABELS))}


def as_npz(folder: Path, dtype: str = "u1") -> FileFormat:
    np.savez_compressed(folder / "x.npz", **arrays(dtype))
    return of(Npz, folder / "x.npz")


def as_npz_of_floats(folder: Path) -> FileFormat:
    return as_npz(folder, "f4")


def as_npy(folder: Path) -> FileFormat:
    for name, array in arrays("i8").items():
        np.save(folder / f"{name}.npy", array)
    return of(Npz, folder)


def as_csv(folder: Path) -> FileFormat:
    for side, rows in SIDES.items():
        table = np.column_stack([LABELS[rows], PIXELS[rows].reshape(-1, 64)])
        header = ",".join(["label", *(f"pixel{i}" for i in range(64))])
        np.savetxt(folder / f"digits_{side}.csv", table, "%d", ",", header=header, comments="")
    return of(Csv, folder / "digits_train.csv")


def as_csv_with_labels_last(folder: Path) -> FileFormat:
    for side, rows in SIDES.items():
        table = np.column_stack([PIXELS[rows].reshape(-1, 64), LABELS[rows]])
        content = "".join(";".join(map(str, row)) + "\r\n" for row in table)
        (folder / f"{side}.csv.gz").write_bytes(gzip.compress(content.encode()))
    return of(Csv, folder / "train.csv.gz", label="last")


def as_csv_folder(folder: Path) -> FileFormat:
    as_csv(folder)
    return of(Csv, folder)


def as_folder(folder: Path, mode: str = "L", pixels: np.ndarray = PIXELS) -> FileFormat:
    for side, rows in SIDES.items():
        for i in range(COUNT)[rows]:
            file = folder / side / str(LABELS[i]) / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[i]).convert(mode).save(file)
    return of(Folder, folder)


def as_folder_in_rgb(folder: Path) -> FileFormat:
    return as_folder(folder, "RGB")


def as_folder_with_palettes(folder: Path) -> FileFormat:
    return as_folder(folder, "P")


def as_flat_folder(folder: Path) -> FileFormat:
    lines = ["file,label,split"]
    for side, rows in SIDES.items():
        for i in range(COUNT)[rows]:
            Image.fromarray(PIXELS[i]).save(folder / f"{i}.bmp")
            lines.append(f"{i}.bmp,{LABELS[i]},{side}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return of(Folder, folder)


def as_parquet(folder: Path, groups: bool = False) -> FileFormat:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shards = {
        "train-00000-of-00002": (0, 90),
        "train-00001-of-00002": (90, TRAIN),
        "test-00000-of-00001": (TRAIN, COUNT),
    }
    if groups:
        shards = {"train-00000-of-00001": (0, COUNT)}
    for name, ends in shards.items():
        rows = range(*ends)
        columns = {
            "image": [{"bytes": png(PIXELS[i]), "path": f"{i}.png"} for i in rows],
            "label": [int(LABELS[i]) for i in rows],
        }
        if groups:
            columns["writer"] = [int(WRITERS[i]) for i in rows]
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return of(Parquet, folder)


OFFICIAL: list[Callable[[Path], FileFormat]] = [
    as_mat, as_idx, as_idx_gz, as_npz, as_npz_of_floats, as_npy, as_csv, as_csv_folder, as_csv_with_labels_last,
    as_folder, as_folder_in_rgb, as_folder_with_palettes, as_flat_folder, as_parquet,
]  # fmt: skip


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Splits]:
    folder = tmp_path_factory.mktemp("official")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return loaded(as_npz(folder))


@pytest.mark.parametrize("write", OFFICIAL)
def test_every_format_gives_the_same_data_set_and_the_same_official_split(
    write: Callable[[Path], FileFormat], official: tuple[Dataset, Splits], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (data, splits), (data_0, splits_0) = loaded(write(folder)), official
    assert data.class_names == tuple("0123456789")
    assert (data.images == data_0.images).all()
    assert (data.labels == data_0.labels).all()
    assert data.is_test is not None
    assert data.is_test.sum() == COUNT - TRAIN
    assert data.digest == data_0.digest
    assert splits.split_digest == splits_0.split_digest
    assert splits.preparation_digest == splits_0.preparation_digest
    assert len(splits.test) == COUNT - TRAIN


# The data set with groups.


def as_grouped_npz(folder: Path, groups: np.ndarray = WRITERS) -> FileFormat:
    np.savez(folder / "x.npz", x=PIXELS, y=LABELS, group=groups)
    return of(Npz, folder / "x.npz")


def as_npz_grouped_by_text(folder: Path) -> FileFormat:
    return as_grouped_npz(folder, WRITERS.astype(str))


def as_npz_grouped_by_floats(folder: Path) -> FileFormat:
    return as_grouped_npz(folder, WRITERS.astype(float))


def as_grouped_csv(folder: Path) -> FileFormat:
    table = np.column_stack([LABELS, WRITERS, PIXELS.reshape(-1, 64)])
    header = ",".join(["label", "writer", *(f"p{i}" for i in range(64))])
    np.savetxt(folder / "x.csv", table, "%d", ",", header=header, comments="")
    return of(Csv, folder / "x.csv", group="writer")


def as_folder_of_writers(folder: Path) -> FileFormat:
    for i in range(COUNT):
        file = folder / str(LABELS[i]) / str(WRITERS[i]) / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[i]).save(file)
    return of(Folder, folder, group="folder")


def as_folder_with_writers_in_names(folder: Path) -> FileFormat:
    for i in range(COUNT):
        file = folder / str(LABELS[i]) / f"w{WRITERS[i]}_{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[i]).save(file)
    return of(Folder, folder, group=r"w(\d+)_")


def as_grouped_flat_folder(folder: Path) -> FileFormat:
    for i in range(COUNT):
        Image.fromarray(PIXELS[i]).save(folder / f"{i}.png")
    (folder / "x.csv").write_text("".join(f"{i}.png,{LABELS[i]},{WRITERS[i]}\n" for i in range(COUNT)))
    return of(Folder, folder)


def as_grouped_parquet(folder: Path) -> FileFormat:
    return as_parquet(folder, groups=True).replace(group_column="writer")


GROUPED: list[Callable[[Path], FileFormat]] = [
    as_npz_grouped_by_text, as_npz_grouped_by_floats, as_grouped_csv, as_folder_of_writers,
    as_folder_with_writers_in_names, as_grouped_flat_folder, as_grouped_parquet,
]  # fmt: skip


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Splits]:
    folder = tmp_path_factory.mktemp("grouped")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return loaded(as_grouped_npz(folder))


@pytest.mark.parametrize("write", GROUPED)
def test_every_format_with_groups_gives_the_same_groups_and_the_same_split(
    write: Callable[[Path], FileFormat], grouped: tuple[Dataset, Splits], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (data, splits), (data_0, splits_0) = loaded(write(folder)), grouped
    assert data.groups is not None
    assert data_0.groups is not None
    assert (data.groups == data_0.groups).all()
    assert data.digest == data_0.digest
    assert splits.split_digest == splits_0.split_digest
    sides = [set(part.groups.tolist()) for part in (splits.train, splits.val, splits.test) if part.groups is not None]
    assert len(set.union(*sides)) == sum(map(len, sides)) == 30


# Preparation.

PREPARATIONS: list[dict[str, Any]] = [
    {"image_size": (5, 7)},
    {"image_size": (28, 28), "fit": "center_of_mass"},
    {"image_size": (12, 9), "fit": "stretch"},
    {"fit": "center_of_mass"},
    {"color": "rgb"},
    {"invert": "true"},
    {"invert": "false", "color": "gray"},
]


def sides(splits: Splits) -> list[list[int]]:
    return [part.index.tolist() for part in (splits.train, splits.val, splits.test)]


CASES = [(as_grouped_npz, "auto"), (as_grouped_npz, "stratified"), (as_grouped_npz, "kfold"), (as_folder, "auto")]


@pytest.mark.parametrize(("write", "split"), CASES)
def test_no_preparation_moves_an_image_to_another_side(
    write: Callable[[Path], FileFormat], split: str, tmp_path: Path
) -> None:
    data_set = write(tmp_path)
    plain, splits = loaded(data_set, split)
    made = set()
    for changes in PREPARATIONS:
        data, others = loaded(data_set.replace(**changes), split)
        assert sides(others) == sides(splits), changes
        assert (data.digest, others.split_digest) == (plain.digest, splits.split_digest)
        assert (data.hashes == plain.hashes).all()
        made.add(others.preparation_digest)
    assert len(made) == len(PREPARATIONS)
    assert None in made  # the last does nothing


@pytest.mark.parametrize(("write", "split"), CASES)
def test_leaving_out_classes_moves_no_other_image(
    write: Callable[[Path], FileFormat], split: str, tmp_path: Path
) -> None:
    data_set = write(tmp_path)
    data, splits = loaded(data_set, split)
    chosen = ["7", "3", "1"]
    _, few = loaded(data_set.replace(classes=tuple(chosen)), split)
    assert few.class_names == tuple(chosen)
    for part, whole in zip((few.train, few.val, few.test), (splits.train, splits.val, splits.test), strict=True):
        kept = np.isin(whole.labels, [1, 3, 7])
        assert part.index.tolist() == whole.index[kept].tolist()
        assert [chosen[label] for label in part.labels] == [data.class_names[data.labels[i]] for i in part.index]

    least = int(np.bincount(data.labels).min()) + 1
    _, frequent = loaded(data_set.replace(min_per_class=least), split)
    assert 2 <= len(frequent.class_names) < 10
    for part, whole in zip(
        (frequent.train, frequent.val, frequent.test), (splits.train, splits.val, splits.test), strict=True
    ):
        kept = np.isin(whole.labels, [int(name) for name in frequent.class_names])
        assert part.index.tolist() == whole.index[kept].tolist()


def test_dark_ink_on_light_paper_is_inverted_and_told(tmp_path: Path) -> None:
    paper = as_folder(tmp_path / "paper", pixels=PAGE)
    data, splits = loaded(paper)
    assert any("ink is dark on light" in note and "dataset.invert=false keeps them" in note for note in data.notes)
    assert data.images[:, 0, 0].mean() < 30
    as_they_are, kept = loaded(paper.replace(invert="false"))
    assert (255 - as_they_are.images == data.images).all()
    assert not any("inverted" in note for note in as_they_are.notes)
    assert sides(kept) == sides(splits)
    assert kept.preparation_digest is None
    ink, _ = loaded(as_folder(tmp_path / "ink", pixels=255 - PAGE))
    assert sorted(image.tobytes() for image in ink.images) == sorted(image.tobytes() for image in data.images)


def test_a_limit_draws_the_same_images_from_every_format(tmp_path: Path) -> None:
    for name in ("npz", "folder"):
        (tmp_path / name).mkdir()
    one, _ = loaded(as_npz(tmp_path / "npz").replace(limit=150))
    other, _ = loaded(as_folder(tmp_path / "folder").replace(limit=150))
    assert len(one.labels) == 150
    assert one.digest == other.digest


def test_the_digits_are_those_of_scikit_learn_also_where_its_file_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_digits()
    for found in (find_spec("sklearn"), None):
        monkeypatch.setattr("hcr.data.formats.sklearn.find_spec", lambda _, found=found: found)
        rows = _rows()
        assert (rows[:, :-1] == expected.data).all()
        assert (rows[:, -1] == expected.target).all()
