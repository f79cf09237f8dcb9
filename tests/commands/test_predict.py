"""`hcr predict`: photos and scans of any kind are read, and what is no image is named."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import QUICK, UNDRAWN, Hcr, Process, Warm, made_once
from PIL import Image
from sklearn.datasets import load_digits

from hcr.commands.predict import rejection_of
from hcr.commands.predict_output import Answer, Rejection, print_csv, print_table
from hcr.config.errors import TrackingError
from hcr.recorded import read_run

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def root(quick_run: Path) -> Mapping[str, str]:
    """The environment in which `latest` is a run on the digits."""
    return {"HCR_OUTPUT_DIR": str(quick_run / "output")}


@pytest.fixture
def recorded(quick_run: Path) -> Path:
    (folder,) = (quick_run / "output/runs").iterdir()
    return folder


def digit(index: int, scale: int = 1) -> np.ndarray:
    """One of the digits (8, 8), enlarged, 0..255, light on dark."""
    pixels = np.rint(load_digits().images[index] * (255 / 16)).astype(np.uint8)
    return np.kron(pixels, np.ones((scale, scale), np.uint8))


def scan(index: int) -> Image.Image:
    """A digit on white paper, 200x160."""
    page = np.full((200, 160), 240, np.uint8)
    page[30:158, 20:148] = np.minimum(page[30:158, 20:148], 255 - digit(index, 16))
    return Image.fromarray(page)


def labels(printed: str) -> dict[str, str]:
    """The label of each file of CSV output."""
    return {row["file"]: row["label"] for row in csv.DictReader(io.StringIO(printed, newline=""))}


def test_prepared_images_get_the_probabilities_that_the_run_recorded(
    hcr: Hcr, tmp_path: Path, root: Mapping[str, str], recorded: Path
) -> None:
    run = read_run(recorded)
    splits, val = run.load_splits(), run.predictions("val")
    images = np.asarray(splits.val.images)
    for number in range(20):
        Image.fromarray(images[number][..., 0]).save(tmp_path / f"{number:02}.png")
    done = hcr("predict", "latest", ".", "--json", env=root)
    assert done.returncode == 0 and done.stderr == ""
    found = json.loads(done.stdout)
    assert found["run"] == run.key and found["classes"] == list("0123456789") and found["reject"] is None
    assert [image["file"] for image in found["images"]] == [f"{number:02}.png" for number in range(20)]
    probabilities = np.array([image["probabilities"] for image in found["images"]])
    assert np.abs(probabilities - val.probabilities[:20]).max() < 1e-5
    for image, row in zip(found["images"], probabilities, strict=True):
        first, second = np.argsort(-row)[:2]
        assert image["label"] == image["guess"] == str(first) and image["runner_up"] == str(second)
        assert image["probability"] == row[first] and image["runner_up_probability"] == row[second]


KINDS: Mapping[str, Callable[[Image.Image, Path], None]] = {
    "alpha.png": lambda page, path: with_alpha(page).save(path),
    "turned.jpg": lambda page, path: page.rotate(90, expand=True).save(path, exif=turned()),
    "deep.png": lambda page, path: Image.fromarray(np.asarray(page).astype(np.uint16) * 257).save(path),
    "print.tif": lambda page, path: page.convert("CMYK").save(path),
    "palette.png": lambda page, path: page.convert("P").save(path),
    "web.gif": lambda page, path: page.save(path),
    "negative.bmp": lambda page, path: Image.fromarray(255 - np.asarray(page)).save(path),
    "photo.webp": lambda page, path: page.convert("RGB").save(path),
}


def with_alpha(page: Image.Image) -> Image.Image:
    """Black ink on nothing."""
    ink = 255 - np.asarray(page)
    return Image.fromarray(
        np.dstack([np.zeros((*ink.shape, 3), np.uint8), np.where(ink > 20, ink, 0).astype(np.uint8)])
    )


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    return exif


def test_every_kind_of_picture_of_a_digit_is_read_alike(hcr: Hcr, tmp_path: Path, root: Mapping[str, str]) -> None:
    page = scan(0)
    page.save(tmp_path / "plain.png")
    for name, save in KINDS.items():
        save(page, tmp_path / name)
    done = hcr("predict", "latest", "plain.png", *KINDS, "--json", env=root)
    assert done.returncode == 0, done.stderr
    plain, *others = json.loads(done.stdout)["images"]
    for image in others:
        assert image["guess"] == plain["guess"], image["file"]
        assert np.abs(np.subtract(image["probabilities"], plain["probabilities"])).max() < 0.1, image["file"]


def test_the_table_has_a_line_for_each_image(hcr: Hcr, tmp_path: Path, root: Mapping[str, str]) -> None:
    scan(3).save(tmp_path / "[b]数.png")
    Image.new("L", (50, 60), 255).save(tmp_path / "blank.png")
    done = hcr("predict", "latest", "[b]数.png", "blank.png", env=root)
    assert done.returncode == 0 and done.stderr == ""
    header, first, second = done.stdout.splitlines()
    assert header.split() == ["file", "label", "probability", "runner-up"]
    assert first.startswith("[b]数.png") and len(first.split()) == 5
    assert second.split(maxsplit=2) == ["blank.png", "-", "no ink found"]


def test_files_that_are_no_images_are_named_and_the_others_are_read(
    hcr: Hcr, tmp_path: Path, root: Mapping[str, str]
) -> None:
    scan(1).save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "letter.png").write_text("Dear reader, this is no image at all.")
    (tmp_path / "empty.png").touch()
    bomb = b"P5 100000 100000 255\n"
    (tmp_path / "bomb.pgm").write_bytes(bomb)
    frames = [Image.new("L", (9, 9), level) for level in (0, 255)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    done = hcr("predict", "latest", ".", "missing.png", "--csv", env=root)
    assert done.returncode == 1
    assert list(labels(done.stdout)) == ["good.png"]
    lines = done.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        "bomb.pgm", "cut.png", "empty.png", "film.gif", "letter.png", "missing.png"
    ]  # fmt: skip
    for line, words in zip(
        lines, ["at most", "whole picture", "empty file", "2 frames", "text file", "No such file"], strict=True
    ):
        assert words in line and line.startswith("hcr: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(hcr: Hcr, tmp_path: Path, root: Mapping[str, str]) -> None:
    scan(1).save(tmp_path / "good.png")
    shutil.copy(tmp_path / "good.png", tmp_path / "closed.png")
    (tmp_path / "closed.png").chmod(0)
    done = hcr("predict", "latest", ".", "--csv", env=root)
    assert done.returncode == 1 and list(labels(done.stdout)) == ["good.png"]
    assert "closed.png" in done.stderr and "Permission denied" in done.stderr


def test_without_any_image_there_is_a_header_only(hcr: Hcr, tmp_path: Path, root: Mapping[str, str]) -> None:
    (tmp_path / "a.png").write_text("nothing")
    done = hcr("predict", "latest", "a.png", "--csv", env=root)
    assert done.returncode == 1 and labels(done.stdout) == {}
    assert hcr("predict", "latest", "a.png", env=root).stdout.split() == ["file", "label", "probability", "runner-up"]


ODD = [
    "a,b.png",
    'q"uote.png',
    "line\nend.png",
    "tab\t.png",
    " blank .png",
    "é数.png",
    "back\\slash.png",
    "ret\rurn.png",
]


def test_file_names_come_back_from_csv_and_json_as_they_are(
    hcr: Hcr, start_hcr: Any, tmp_path: Path, root: Mapping[str, str]
) -> None:
    for name in ODD:
        scan(2).save(tmp_path / name)
    with (tmp_path / "found.csv").open("wb") as file:  # a pipe of text would change a carriage return
        process: Process = start_hcr("predict", "latest", ".", "--csv", stdout=file, env={**os.environ, **root})
        assert process.wait(300) == 0
    as_json = hcr("predict", "latest", ".", "--json", env=root)
    assert sorted(labels((tmp_path / "found.csv").read_bytes().decode())) == sorted(ODD)
    assert sorted(image["file"] for image in json.loads(as_json.stdout)["images"]) == sorted(ODD)
    table = hcr("predict", "latest", ".", env=root).stdout.splitlines()
    assert len(table) == 1 + len(ODD), "a line each"


def test_an_image_on_standard_input_is_read(start_hcr: Any, tmp_path: Path, root: Mapping[str, str]) -> None:
    scan(4).save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb") as file:
        process: Process = start_hcr("predict", "latest", "-", "--csv", stdin=file, env={**os.environ, **root})
        printed, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert list(labels(printed)) == ["-"]


def test_a_reader_that_leaves_ends_it_silently(start_hcr: Any, tmp_path: Path, root: Mapping[str, str]) -> None:
    scan(4).save(tmp_path / "a.png")
    pages = [str(tmp_path / "a.png")] * 3_000
    process: Process = start_hcr("predict", "latest", *pages, "--csv", env={**os.environ, **root})
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(300) != 0 and said == ""


def test_rejection_answers_what_the_threshold_of_validation_allows(
    hcr: Hcr, tmp_path: Path, root: Mapping[str, str], recorded: Path
) -> None:
    run = read_run(recorded)
    val = run.predictions("val")
    rejection = rejection_of(run, 0.99)
    sure = val.probabilities.max(axis=1) >= rejection.threshold
    right = val.probabilities.argmax(axis=1) == val.labels
    assert right[sure].mean() == pytest.approx(rejection.accuracy) and rejection.accuracy >= 0.99
    assert sure.mean() == pytest.approx(rejection.answered)
    images = np.asarray(run.load_splits().val.images)
    for number in range(60):
        Image.fromarray(images[number][..., 0]).save(tmp_path / f"{number:02}.png")
    done = hcr("predict", "latest", ".", "--reject", "0.99", "--json", env=root)
    found = json.loads(done.stdout)
    assert found["reject"]["threshold"] == rejection.threshold
    for image, is_sure in zip(found["images"], sure[:60], strict=True):
        assert (image["label"] is not None) == is_sure == (image["note"] is None)
        assert image["guess"] is not None
    as_csv = labels(hcr("predict", "latest", ".", "--reject", "0.99", "--csv", env=root).stdout)
    assert [label != "?" for label in as_csv.values()] == sure[:60].tolist()
    table = hcr("predict", "latest", ".", "--reject", "0.99", env=root).stdout.splitlines()
    assert table[-1].startswith(f"? on {60 - int(sure[:60].sum())} of 60: below a confidence of")


def test_an_accuracy_that_no_threshold_reaches_is_one_line(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "run")
    wrong = np.tile(np.array([0.9, 0.1], np.float32), (4, 1))
    np.savez(tmp_path / "run/artifacts/predictions/val.npz", probabilities=wrong, labels=[1, 1, 0, 1], index=range(4))
    with pytest.raises(TrackingError, match=r"no confidence threshold has an accuracy of 0.9 .*highest is 0.2500"):
        rejection_of(read_run(tmp_path / "run"), 0.9)


def test_explanations_are_pictures_in_a_folder_or_a_file(hcr: Hcr, tmp_path: Path, root: Mapping[str, str]) -> None:
    (tmp_path / "other").mkdir()
    scan(5).save(tmp_path / "one.png")
    scan(6).save(tmp_path / "other/one.png")
    Image.new("L", (50, 60), 255).save(tmp_path / "blank.png")
    done = hcr("predict", "latest", "one.png", "other", "blank.png", "--explain", "why", "--csv", env=root)
    assert done.returncode == 0 and len(labels(done.stdout)) == 3
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == ["one-2.png", "one.png"]
    assert "2 pictures in why" in done.stderr
    with Image.open(tmp_path / "why/one.png") as picture:
        assert picture.width > 900 and len(np.unique(np.asarray(picture.convert("L")))) > 50
    done = hcr("predict", "latest", "one.png", "--explain", "deep/er.png", env=root)
    assert done.returncode == 0 and (tmp_path / "deep/er.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["latest"], "the following arguments are required: IMAGE"),
        (["nobody", "a.png"], "nobody"),
        (["latest", "a.png", "--json", "--csv"], "not allowed with argument"),
        (["latest", "a.png", "--reject", "99"], "expected an accuracy above 0 and at most 1, such as 0.99, got '99'"),
        (["latest", "a.png", "--made-as", "emnist"], "invalid choice: 'emnist'"),
        (["latest", "a.png", "b.png", "--explain", "x.png"], "expected a folder for 2 images"),
        (["latest", "a.png", "--explain", "a.png/x"], "--explain: expected a folder or a .png file"),
        (["latest", "*.nothing"], "expected files that match"),
        (["latest", "void"], "expected pictures"),
    ],
)
def test_a_mistaken_command_line_is_one_line(
    hcr: Hcr, tmp_path: Path, root: Mapping[str, str], words: list[str], message: str
) -> None:
    scan(0).save(tmp_path / "a.png")
    (tmp_path / "void").mkdir()
    done = hcr("predict", *words, env=root, light=True)
    assert done.returncode == 1 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and message in done.stderr


def test_of_a_set_whose_making_is_not_known_images_are_scaled_whole_and_a_note_says_so(
    hcr: Hcr, tmp_path: Path, shared: Path, warm: Warm
) -> None:
    def make(folder: Path) -> None:
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output")}
        words = [*QUICK, "training.epochs=1", "dataset.made_as=null"]
        done = warm.run("train", *words, cwd=folder, env=environment, code=UNDRAWN)
        assert done.returncode == 0, done.stderr

    root = {"HCR_OUTPUT_DIR": str(made_once(shared / "quick-unknown", make) / "output")}
    scan(0).save(tmp_path / "a.png")
    Image.fromarray(digit(0)).save(tmp_path / "ready.png")
    done = hcr("predict", "latest", "a.png", "ready.png", env=root)
    assert done.returncode == 0
    assert "note: 1 image of another size" in done.stderr and "--made-as digits|mnist" in done.stderr
    assert hcr("predict", "latest", "a.png", "--made-as", "digits", env=root).stderr == ""


def test_a_class_called_with_a_question_mark_is_told_from_an_unsure_answer(capsys: pytest.CaptureFixture[str]) -> None:
    rejection = Rejection(wanted=0.9, threshold=0.8, accuracy=0.9, answered=0.5)
    sure, unsure = np.array([0.1, 0.9], np.float32), np.array([0.6, 0.4], np.float32)
    answers = [Answer.of(f"{row[0]}.png", row, ("a", "?"), rejection) for row in (sure, unsure)]
    print_csv(answers)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["label"], row["guess"], row["note"]) for row in rows] == [("?", "?", ""), ("?", "a", "rejected")]
    print_table(answers, rejection)
    assert capsys.readouterr().out.splitlines()[-1].startswith("? on 1 of 2:")


@pytest.fixture(scope="session")
def mnist_run(shared: Path, mnist_dir: Path, warm: Warm) -> Path:
    """The folder of a run of `experiment=speedrun` on MNIST. To be read only."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output"), "HCR_DATA_DIR": str(mnist_dir)}
        done = warm.run("train", "dataset=mnist", "experiment=speedrun", cwd=folder, env=environment, code=UNDRAWN)
        assert done.returncode == 0, done.stderr

    return made_once(shared / "speedrun", make)


@pytest.mark.slow
def test_nine_of_ten_photos_of_each_kind_are_read(hcr: Hcr, tmp_path: Path, mnist_run: Path, mnist_dir: Path) -> None:
    script = PROJECT / "experiments/photos/render.py"
    words = ["--part", "val", "--per-kind", "10", "--seed", "11", str(tmp_path / "photos")]
    environment = {**os.environ, "HCR_DATA_DIR": str(mnist_dir)}
    subprocess.run([sys.executable, str(script), *words], check=True, env=environment, cwd=PROJECT)
    done = hcr("predict", "latest", "photos", "--csv", env={"HCR_OUTPUT_DIR": str(mnist_run / "output")})
    assert done.returncode == 0, done.stderr
    right = {file: label == Path(file).name[0] for file, label in labels(done.stdout).items()}
    assert len(right) == 60
    assert sum(right.values()) >= 56, [file for file, is_right in right.items() if not is_right]
