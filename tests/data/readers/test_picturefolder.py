"""Folders of pictures, as people have them: class folders, official sides, or a CSV beside the pictures."""

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hcr.config.errors import ConfigError, DataError
from hcr.data.dataset import Dataset, assemble
from hcr.data.formats.folder import Folder
from hcr.data.raw import Raw
from hcr.data.readers.picturefolder import read_folder


def cfg(folder: Path, **settings: Any) -> Folder:
    return Folder(name="scans", format="folder", path=str(folder), **settings)


def draw(file: Path, number: int = 0, size: tuple[int, int] = (4, 6)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((size[1], size[0]), np.uint8)
    image.flat[1:4] = 255, number % 256, number // 256
    Image.fromarray(image).save(file, "PNG")


def drawn(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        draw(folder / name, number)
    return folder


def listed(raw: Raw, folder: Path) -> dict[str, tuple[str, str]]:
    """The side and class of each picture."""
    assert raw.class_names is not None
    return {
        str(Path(picture.content).relative_to(folder)): (part.side, raw.class_names[label])  # type: ignore[union-attr]
        for part in raw.parts
        for picture, label in zip(part.images, part.labels, strict=True)
    }


def read(folder: Path, **settings: Any) -> Raw:
    return read_folder(folder, cfg(folder, **settings))


def load(folder: Path, **settings: Any) -> Dataset:
    config = cfg(folder, **settings)
    return assemble(config.read(folder), config, str(folder))


def refusal(folder: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as refused:
        load(folder, **settings)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def groups(raw: Raw) -> list[list[str]]:
    return [[] if part.groups is None else part.groups.tolist() for part in raw.parts]


def table(folder: Path, text: str, encoding: str = "utf-8") -> None:
    (folder / "labels.csv").write_text(text, encoding=encoding)


def test_each_folder_is_a_class_in_natural_order(tmp_path: Path) -> None:
    drawn(tmp_path, "10/a.png", "9/a.png", "2/b.png", "2/deeper/c.png")
    raw = read(tmp_path)
    assert raw.class_names == ("2", "9", "10")
    assert listed(raw, tmp_path) == {
        "10/a.png": ("train", "10"),
        "9/a.png": ("train", "9"),
        "2/b.png": ("train", "2"),
        "2/deeper/c.png": ("train", "2"),
    }
    assert raw.notes == ()


def test_folder_names_may_be_of_any_script_and_any_character(tmp_path: Path) -> None:
    names = ["あ", "ß", "+", "#", "%", "é", "a b", "'", "क", "-1", "true", "A", "a"]
    drawn(tmp_path, *[f"{name}/x.png" for name in names])
    assert sorted(load(tmp_path).class_names) == sorted(names)


def test_names_decomposed_by_macos_are_the_composed_class(tmp_path: Path) -> None:
    drawn(tmp_path, f"train/{unicodedata.normalize('NFD', 'é')}/x.png", "train/b/x.png", "test/b/y.png")
    drawn(tmp_path, "test/é/y.png")
    assert read(tmp_path).class_names == ("b", "é")


def test_two_folders_whose_names_look_the_same_are_refused(tmp_path: Path) -> None:
    drawn(tmp_path, f"{unicodedata.normalize('NFD', 'é')}/x.png", "é/x.png", "b/x.png")
    assert "expected class names that differ, got 'é' twice, written with other Unicode characters" in refusal(tmp_path)


def test_names_that_differ_in_case_only_are_different(tmp_path: Path) -> None:
    drawn(tmp_path, "a/x.png", "A/x.png", "a/X.png", "a/x.PNG")
    data = load(tmp_path)
    assert data.class_names == ("A", "a")
    assert np.bincount(data.labels).tolist() == [1, 3]


@pytest.mark.parametrize(
    "sides", [("train", "val", "test"), ("Training", "valid", "Testing"), ("TRAIN", "validation", "test")]
)
def test_official_sides_are_folders_around_the_classes(tmp_path: Path, sides: tuple[str, str, str]) -> None:
    drawn(tmp_path, *[f"{side}/{name}/{side}{k}.png" for side in sides for name in "ab" for k in range(2)])
    data = load(tmp_path)
    assert data.class_names == ("a", "b")
    assert data.is_test is not None
    assert data.is_val is not None
    assert (data.is_test.sum(), data.is_val.sum(), len(data.labels)) == (4, 4, 12)
    raw = read(tmp_path)
    assert {name.partition("/")[0]: side for name, (side, _) in listed(raw, tmp_path).items()} == dict(
        zip(sides, ("train", "val", "test"), strict=True)
    )


def test_folders_named_train_and_test_beside_classes_are_refused(tmp_path: Path) -> None:
    drawn(tmp_path, "train/a/x.png", "train/b/x.png", "test/a/x.png", "extra/x.png")
    told = refusal(tmp_path)
    assert "expected only train, val and test beside each other, got also 'extra'; move it elsewhere" in told


def test_an_unlabelled_test_folder_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    drawn(tmp_path, "train/a/1.png", "train/b/2.png", "test/3.png")
    told = refusal(tmp_path)
    assert told.startswith(f"{tmp_path}/test/3.png: expected pictures in class folders, such as test/a, got a picture")


def test_a_picture_beside_class_folders_is_named(tmp_path: Path) -> None:
    drawn(tmp_path, "a/1.png", "b/2.png", "stray.png")
    told = refusal(tmp_path)
    assert told == (
        f"{tmp_path}/stray.png: expected pictures in class folders, such as a, got a picture beside them; move it into"
        " one, or list all pictures in a CSV of file,label[,group]"
    )


def test_files_that_systems_add_are_left_out_without_a_word(tmp_path: Path) -> None:
    drawn(tmp_path, "a/1.png", "b/2.png")
    for name in (".DS_Store", "a/._1.png", "a/Thumbs.db", "__MACOSX/a/._1.png", ".git/HEAD", "a/.hidden/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\1\2")
    assert read(tmp_path).notes == ()
    assert len(load(tmp_path).labels) == 2


def test_files_that_are_no_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    drawn(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "README").write_text("x")
    assert read(tmp_path).notes == (f"{tmp_path}: 2 files are no pictures, such as README",)


def test_a_class_folder_without_pictures_is_told(tmp_path: Path) -> None:
    drawn(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "c").mkdir()
    raw = read(tmp_path)
    assert raw.class_names == ("a", "b")
    assert raw.notes == (f"{tmp_path}: the folder 'c' has no pictures and is left out",)


def test_pictures_are_found_by_their_endings_in_any_case(tmp_path: Path) -> None:
    for number, ending in enumerate(("png", "PNG", "jpg", "JPEG", "tif", "TIFF", "bmp", "webp", "gif", "pgm")):
        draw(tmp_path / "ab"[number % 2] / f"{number}.{ending}", number)  # PNG by their bytes, which is what counts
    assert len(load(tmp_path).labels) == 10


def test_one_class_is_refused_and_so_is_a_folder_around_the_data_set(tmp_path: Path) -> None:
    drawn(tmp_path, "letters/a/1.png", "letters/b/2.png")
    told = refusal(tmp_path)
    assert told == (
        f"{tmp_path}: expected pictures of 2 classes or more, got only 'letters'; if its folders are the"
        f" classes, set dataset.path={tmp_path}/letters"
    )
    drawn(tmp_path / "one", "a/1.png", "a/2.png")
    assert refusal(tmp_path / "one") == f"{tmp_path}/one: expected pictures of 2 classes or more, got only 'a'"


def test_a_folder_without_pictures_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("x")
    assert refusal(tmp_path) == (
        f"{tmp_path}: expected pictures (PNG, JPEG, TIFF, BMP or WebP), got 1 other files; expected one folder a class,"
        " or pictures and a CSV of file,label"
    )


def test_groups_are_folders_in_class_folders(tmp_path: Path) -> None:
    drawn(tmp_path, "a/ann/1.png", "a/bob/1.png", "b/ann/x/1.png")
    assert groups(read(tmp_path, group="folder")) == [["ann", "bob", "ann"]]
    assert groups(read(tmp_path)) == [[]]
    drawn(tmp_path, "b/2.png")
    assert refusal(tmp_path, group="folder") == (
        f"{tmp_path}/b/2.png: expected a folder inside the class folder, such as b/writer1 (dataset.group=folder)"
    )


def test_groups_are_found_by_a_pattern_in_file_names(tmp_path: Path) -> None:
    drawn(tmp_path, "train/a/w1_1.png", "train/b/w12_1.png", "test/a/w3_1.png", "test/b/w3_2.png")
    assert groups(read(tmp_path, group=r"w(\d+)_")) == [["1", "12"], ["3", "3"]]
    data = load(tmp_path, group=r"w(\d+)_")
    assert data.groups is not None
    assert len(set(data.groups.tolist())) == 3
    drawn(tmp_path, "test/b/nobody.png")
    assert refusal(tmp_path, group=r"w(\d+)_") == (
        f"{tmp_path}/test/b/nobody.png: expected a name with the pattern 'w(\\\\d+)_' (dataset.group)"
    )


@pytest.mark.parametrize(
    ("pattern", "message"), [("w(", "regular expression"), ("w", "one pair"), ("(w)(x)", "one pair")]
)
def test_a_pattern_that_finds_no_group_is_refused(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^dataset\.group: expected .*{message}"):
        cfg(tmp_path, group=pattern)


def test_a_broken_picture_is_named_or_skipped_and_counted(tmp_path: Path) -> None:
    drawn(tmp_path, *[f"{name}/{k}.png" for name in "ab" for k in range(5)])
    (tmp_path / "a" / "1.png").write_bytes(b"no")  # the header is broken
    whole = (tmp_path / "b" / "3.png").read_bytes()
    (tmp_path / "b" / "3.png").write_bytes(whole[:50])  # the pixels are broken
    told = refusal(tmp_path)
    assert told.startswith(f"{tmp_path}/a/1.png: expected a picture")
    assert told.endswith("; dataset.skip_broken=true goes on without such files")
    data = load(tmp_path, skip_broken=True)
    assert len(data.labels) == len(data.images) == len(data.hashes) == 8
    assert np.bincount(data.labels).tolist() == [4, 4]
    assert data.notes == (f"{tmp_path}: 2 of 10 files are broken and left out: {tmp_path}/a/1.png, {tmp_path}/b/3.png",)
    (tmp_path / "a" / "1.png").unlink()
    (tmp_path / "b" / "3.png").unlink()
    assert load(tmp_path).digest == data.digest


def test_broken_pictures_keep_sides_and_groups_of_the_others(tmp_path: Path) -> None:
    drawn(tmp_path, *[f"{side}/{name}/w{k}_.png" for side in ("train", "test") for name in "ab" for k in range(3)])
    (tmp_path / "train" / "a" / "w0_.png").write_bytes(b"")
    (tmp_path / "test" / "b" / "w2_.png").write_bytes(b"")
    data = load(tmp_path, skip_broken=True, group=r"w(\d)_")
    (tmp_path / "train" / "a" / "w0_.png").unlink()
    (tmp_path / "test" / "b" / "w2_.png").unlink()
    assert load(tmp_path, group=r"w(\d)_").digest == data.digest


def test_nothing_is_left_of_a_folder_of_broken_pictures(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"no")
    assert "got none that can be read (2 are broken)" in refusal(tmp_path, skip_broken=True)


def test_a_class_whose_pictures_are_all_broken_is_refused_where_it_is_used(tmp_path: Path) -> None:
    drawn(tmp_path, "a/1.png", "b/1.png", "c/1.png")
    (tmp_path / "c" / "1.png").write_bytes(b"no")
    data = load(tmp_path, skip_broken=True)
    assert data.class_names == ("a", "b", "c")
    assert np.bincount(data.labels, minlength=3).tolist() == [1, 1, 0]


def test_pictures_of_several_sizes_are_prepared_to_one(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png", 1, (10, 20))
    draw(tmp_path / "a" / "2.png", 2, (12, 22))
    draw(tmp_path / "b" / "1.png", 3, (30, 24))
    data = load(tmp_path)
    assert data.images.shape == (3, 22, 12, 1)
    assert data.source_shape is None
    assert data.sizes is not None
    assert sorted(map(tuple, data.sizes.tolist())) == [(20, 10), (22, 12), (24, 30)]
    assert "are of several sizes and are prepared to 22x12; dataset.image_size=[height,width]" in data.notes[0]
    assert load(tmp_path, image_size=[9, 8]).images.shape == (3, 9, 8, 1)
    assert load(tmp_path, image_size=[9, 8]).digest == data.digest


def test_an_image_shape_that_a_picture_has_not_is_refused_by_its_name(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png", 1, (4, 6))
    draw(tmp_path / "b" / "2.png", 2, (5, 6))
    told = refusal(tmp_path, image_shape=[6, 4, 1], image_size=[6, 4])
    assert told == (
        f"{tmp_path}/b/2.png: expected an image of 6x4 (dataset.image_shape), got 6x5;"
        " dataset.image_shape=null dataset.image_size=[6,4] resizes"
    )


def test_one_picture_in_colour_makes_the_data_set_one_in_colour(tmp_path: Path) -> None:
    drawn(tmp_path, "a/1.png", "b/2.png")
    assert load(tmp_path).images.shape[3] == 1
    gray = load(tmp_path)
    for file in tmp_path.glob("*/*.png"):
        Image.open(file).convert("RGB").save(file)
    assert load(tmp_path).digest == gray.digest
    assert load(tmp_path).images.shape == gray.images.shape
    Image.new("RGB", (4, 6), (250, 10, 10)).save(tmp_path / "a" / "red.png")
    data = load(tmp_path)
    assert (data.images.shape[3], data.source_shape) == (3, (6, 4, 3))
    assert load(tmp_path, color="gray").images.shape[3] == 1
    assert load(tmp_path, color="gray").digest == data.digest
    assert "expected 3 channels, as images have colour" in refusal(tmp_path, image_shape=[6, 4, 1])


def test_gray_pictures_of_a_data_set_declared_in_colour_have_three_channels(tmp_path: Path) -> None:
    drawn(tmp_path, "a/1.png", "b/2.png")
    assert load(tmp_path, image_shape=[6, 4, 3]).images.shape[3] == 3
    for file in tmp_path.glob("*/*.png"):
        Image.open(file).convert("RGB").save(file)
    assert load(tmp_path, image_shape=[6, 4, 3]).images.shape[3] == 3


# A flat folder with a CSV.

FLAT = ("x1.png", "x2.png", "x3.png")


@pytest.mark.parametrize(
    "text",
    [
        "file,label\nx1.png,a\nx2.png,b\nx3.png,a\n",
        "x1.png,a\nx2.png,b\nx3.png,a\n",
        "x1.png,a\r\nx2.png,b\r\nx3.png,a",
        "label,filename\na,x1.png\nb,x2.png\na,x3.png\n",
        "ID,Class,comment\nx1.png,a,\nx2.png,b,\"a, 'b'\"\nx3.png,a,\n",
        "\n\nfile,label\nx1.png,a\n\nx2.png,b\n , \nx3.png,a\n",
        "file,label\n./x1.png,a\n.\\x2.png, b \nx3.png,a\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_beside_the_pictures_labels_them(tmp_path: Path, text: str, encoding: str) -> None:
    drawn(tmp_path, *FLAT)
    table(tmp_path, text, encoding)
    assert listed(read(tmp_path), tmp_path) == {
        "x1.png": ("train", "a"),
        "x2.png": ("train", "b"),
        "x3.png": ("train", "a"),
    }


def test_a_csv_may_name_groups_and_sides(tmp_path: Path) -> None:
    drawn(tmp_path, *FLAT)
    table(tmp_path, "file,label,writer,split\nx1.png,a,ann,train\nx2.png,b,bob,TEST\nx3.png,a,ann,val\n")
    raw = read(tmp_path)
    assert listed(raw, tmp_path) == {"x1.png": ("train", "a"), "x2.png": ("test", "b"), "x3.png": ("val", "a")}
    assert groups(raw) == [["ann"], ["ann"], ["bob"]]
    table(tmp_path, "x1.png,a,7\nx2.png,b,8\nx3.png,a,7\n")
    assert groups(read(tmp_path)) == [["7", "8", "7"]]


def test_a_csv_may_name_pictures_in_folders_with_windows_paths(tmp_path: Path) -> None:
    drawn(tmp_path, "images/1.png", "images/2.png")
    table(tmp_path, "file,label\nimages\\1.png,a\nimages/2.png,b\n")
    assert listed(read(tmp_path), tmp_path) == {"images/1.png": ("train", "a"), "images/2.png": ("train", "b")}


def test_a_pattern_finds_groups_in_a_flat_folder_too(tmp_path: Path) -> None:
    drawn(tmp_path, "w1_a.png", "w2_a.png")
    table(tmp_path, "w1_a.png,a\nw2_a.png,b\n")
    assert groups(read(tmp_path, group=r"w(\d)_")) == [["1", "2"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected lines of file,label[,group], got none"),
        ("\n\n", "expected lines of file,label[,group], got none"),
        ("x1.png,a\nx2.png,b\n", "expected a line for each picture, but 1 have none, such as 'x3.png'"),
        ("x1.png,a\nx2.png,b\nx4.png,a\n", "line 3: expected a picture of this folder, got 'x4.png'; did you mean"),
        ("x1.png,a\nx2.png,b\nX3.png,a\n", "line 3: expected a picture of this folder, got 'X3.png'; did you mean"),
        ("x1.png,a\nx2.png,b\n../x3.png,a\n", "line 3: expected a picture of this folder, got '../x3.png'"),
        ("x1.png,a\nx2.png,b\n/etc/passwd,a\n", "line 3: expected a picture of this folder, got '/etc/passwd'"),
        ("x1.png,a\n\nx1.png,b\n", "line 3: expected each picture once, got 'x1.png' again"),
        ("x1.png,a\nx2.png\n", "line 2: expected 2 cells, got 1"),
        ("x1.png,a\nx2.png,\n", "line 2: expected a label, got an empty cell"),
        ("file,label,group\nx1.png,a,\n", "line 2: expected a group, got an empty cell"),
        ("file,label,split\nx1.png,a,later\n", "line 2: expected train, val or test, got 'later'"),
        ("name;label\nx1.png;a\n", "expected the columns file,label[,group], got 'name;label'"),
        ('x1.png,a\nx2.png,"b\n', "expected a CSV in UTF-8"),
        ("x1.png,a\x1bb\n", "line 1: expected a class name of printable characters, got 'a\\x1bb'; rename it"),
    ],
)
def test_a_csv_that_does_not_fit_its_pictures_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    drawn(tmp_path, *FLAT)
    table(tmp_path, text)
    told = refusal(tmp_path)
    assert told.startswith(f"{tmp_path}/labels.csv: ")
    assert message in told


def test_a_csv_in_another_encoding_is_refused(tmp_path: Path) -> None:
    drawn(tmp_path, *FLAT)
    table(tmp_path, "x1.png,ä\nx2.png,b\nx3.png,b\n", "latin-1")
    assert "expected a CSV in UTF-8" in refusal(tmp_path)


def test_pictures_without_a_csv_or_with_two_are_refused(tmp_path: Path) -> None:
    drawn(tmp_path, *FLAT)
    assert "got no CSV file beside 3 pictures" in refusal(tmp_path)
    table(tmp_path, "x1.png,a\n")
    (tmp_path / "other.csv").write_text("x1.png,a\n")
    assert "got 2 CSV files beside 3 pictures" in refusal(tmp_path)


# What a file system may hold.


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "tab\tb"])
def test_a_class_name_that_cannot_be_shown_is_refused_on_one_line(tmp_path: Path, name: str) -> None:
    drawn(tmp_path, f"{name}/1.png", "b/1.png")
    told = refusal(tmp_path)
    assert "expected a class name of printable characters, got '" in told
    assert "\x1b" not in told


def test_a_file_name_may_have_any_character_and_is_shown_on_one_line(tmp_path: Path) -> None:
    drawn(tmp_path, "a/1\n2.png", "b/1.png")
    draw(Path(os.fsdecode(os.fsencode(tmp_path) + b"/b/\xff\xfe.png")), 9)  # not UTF-8
    assert len(load(tmp_path).labels) == 3
    for file in tmp_path.glob("*/*.png"):
        file.write_bytes(b"no")
    assert "\\n" in refusal(tmp_path)
    (tmp_path / "a" / "1\n2.png").unlink()
    drawn(tmp_path, "a/1.png")
    refusal(tmp_path).encode()


def test_links_are_followed_and_loops_and_broken_links_are_refused(tmp_path: Path) -> None:
    scans = drawn(tmp_path / "scans", "a/1.png")
    drawn(tmp_path / "elsewhere", "1.png", "2.png")
    (scans / "b").symlink_to(tmp_path / "elsewhere")
    (scans / "a" / "3.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    assert len(load(scans).labels) == 4
    (scans / "a" / "loop").symlink_to(scans)
    assert "expected no loop of symbolic links" in refusal(scans)
    (scans / "a" / "loop").unlink()
    (scans / "a" / "4.png").symlink_to("nowhere.png")
    assert refusal(scans) == f"{scans}/a/4.png: a symbolic link to nothing, or to itself; remove it"
    (scans / "a" / "4.png").unlink()
    (scans / "a" / "4.png").symlink_to("4.png")
    assert "a symbolic link to nothing, or to itself" in refusal(scans)


def test_pipes_and_sockets_are_not_opened(tmp_path: Path) -> None:
    drawn(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(tmp_path / "a" / "2.png")
    assert len(load(tmp_path).labels) == 2


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(tmp_path, "a/1.png", "b/1.png")
    real = os.scandir

    def scandir(path: Any) -> Any:  # permissions do not stop root, who may run the tests
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    assert refusal(tmp_path) == f"{tmp_path}/b: cannot be read (Permission denied)"


def test_folders_nested_without_end_are_refused(tmp_path: Path) -> None:
    drawn(tmp_path, "a/1.png", "b/" + "x/" * 30 + "1.png")
    assert "16 levels" in refusal(tmp_path)


def test_a_folder_and_the_same_as_a_table_are_one_data_set(tmp_path: Path) -> None:
    names: Mapping[str, str] = {"a/1.png": "a", "a/2.png": "a", "b/3.png": "b"}
    drawn(tmp_path / "folders", *names)
    drawn(tmp_path / "flat", *[name[2:] for name in names])
    table(tmp_path / "flat", "".join(f"{name[2:]},{label}\n" for name, label in names.items()))
    assert load(tmp_path / "folders").digest == load(tmp_path / "flat").digest
