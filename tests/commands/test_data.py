"""`hcr data`: what it prints is what training would see, and it needs no TensorFlow for it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA_DIR, UNDRAWN, Hcr

from hcr.data.splitting import load_splits
from hcr.gate.compose import compose

README = (Path(__file__).parents[2] / "conf/README.md").read_text()
PNG = b"\x89PNG\r\n\x1a\n"


def numbers(line: str) -> list[int]:
    return [int(word.replace(",", "")) for word in re.findall(r"(?<!\S)[\d,]+(?!\S)", line)]


def test_the_table_counts_what_training_would_see(hcr: Hcr) -> None:
    done = hcr("data", "seed=3", "split.test=0.3")
    assert (done.returncode, done.stderr) == (0, "")
    cfg = compose(["seed=3", "split.test=0.3"])
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    parts = [np.bincount(part.labels) for part in (splits.train, splits.val, splits.test)]
    rows = [numbers(line) for line in done.stdout.splitlines() if re.match(r"\s*\d ", line)]
    assert rows == [[k, *(int(part[k]) for part in parts), int(sum(part[k] for part in parts))] for k in range(10)]
    assert numbers(next(line for line in done.stdout.splitlines() if line.strip().startswith("all"))) == [
        *(len(part) for part in (splits.train, splits.val, splits.test)),
        1797,
    ]
    assert f"dataset digest {splits.dataset_digest}" in done.stdout
    assert f"split digest   {splits.split_digest}" in done.stdout
    assert "from           scikit-learn's digits" in done.stdout
    assert "no validation or test image is also in training" in done.stdout


def test_the_pictures_are_where_it_says(hcr: Hcr, tmp_path: Path) -> None:
    done = hcr("data")
    for what in ("samples", "balance", "suspicious", "near copies"):
        file = tmp_path / "output" / "data" / f"digits-{what.replace(' ', '-')}.png"
        assert f"{what:<14} {file}" in done.stdout.splitlines()
        assert file.read_bytes().startswith(PNG)
    assert not (tmp_path / "output" / "runs").exists()


@pytest.mark.slow
def test_it_imports_neither_tensorflow_nor_keras_nor_mlflow(tmp_path: Path) -> None:
    heavy = "{'tensorflow', 'keras', 'mlflow'}"
    code = (
        f"import sys; from hcr.cli import main; assert main(['data']) == 0; print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["dataset=minst"], "hcr: dataset: no 'minst' here; did you mean 'mnist'?"),
        (["dataset.limit=9"], "hcr: dataset.limit: expected 10 or more"),
        (["dataset.limit=1798"], "hcr: dataset.limit: expected at most the 1,797 images of scikit-learn's digits"),
        (["split=grouped"], "hcr: split.name: expected a data set whose images are in groups"),
        (["model.depth=9"], "hcr: model.depth: block 4"),
        (["seed=1,2"], "hcr: seed: 1,2 means several values"),
        (["--wrong"], "hcr: hcr data: unrecognized arguments: --wrong"),
    ],
)
def test_it_refuses_what_train_refuses_in_one_line(hcr: Hcr, overrides: list[str], told: str) -> None:
    done = hcr("data", *overrides)
    assert done.returncode == 1
    assert done.stderr.startswith(told)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_26_classes_stand_side_by_side_within_80_columns(hcr: Hcr) -> None:
    if not (DATA_DIR / "ocr-letters.npz").is_file():
        pytest.skip(f"ocr-letters.npz is not in {DATA_DIR}; HCR_DATA_DIR names its folder")
    done = hcr("data", "dataset=letters", "dataset.limit=13000", env={"HCR_DATA_DIR": str(DATA_DIR), "COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("from  ")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert len(table) <= 22
    assert {letter for line in table for letter in re.findall(r"(?<!\S)[a-z](?!\S)", line)} >= set("abcxyz")
    assert f"from           {DATA_DIR / 'ocr-letters.npz'}" in done.stdout
    assert re.search(r"duplicates     [\d,]+ of [\d,]+ validation images and [\d,]+ of [\d,]+ test images", done.stdout)


def shapes(folder: Path, *, repeats: int = 0) -> None:
    """What the README's section on a data set of one's own asks for, and nothing else."""
    section = README.split("## A data set")[1].split("\n## ")[0]
    (yaml,) = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    (place,) = re.findall(r"`(\./conf/dataset/\w+\.yaml)`", section)
    (folder / place).parent.mkdir(parents=True)
    (folder / place).write_text(yaml)
    x = np.random.default_rng(0).integers(0, 256, (90, 12, 10), dtype=np.uint8)
    y = np.arange(90) % 3
    x[:repeats] = x[0]
    np.savez(folder / "shapes.npz", x=x, y=y)


@pytest.mark.slow
def test_a_data_set_of_one_s_own_is_one_yaml_as_the_readme_says(hcr: Hcr, tmp_path: Path) -> None:
    shapes(tmp_path)
    assert "hcr data dataset=shapes" in README
    assert "hcr train dataset=shapes" in README
    seen = hcr("data", "dataset=shapes")
    assert (seen.returncode, seen.stderr) == (0, "")
    assert "shapes: 90 images of 12x10x1, 3 classes" in seen.stdout
    assert [word in seen.stdout for word in ("circle", "square", "cross", "shapes.npz")] == [True] * 4
    trained = hcr("train", "dataset=shapes", "training=smoke", "model.filters=4", "dataset.limit=60", code=UNDRAWN)
    assert trained.returncode == 0, trained.stderr
    assert "12 images)" in trained.stdout
    assert "are also in training" not in trained.stdout


@pytest.mark.slow
def test_duplicates_are_told_after_training_and_tagged_on_the_run(hcr: Hcr, tmp_path: Path) -> None:
    from hcr.tracking.store import open_store

    shapes(tmp_path, repeats=60)
    done = hcr("train", "dataset=shapes", "training=smoke", "model.filters=4", code=UNDRAWN)
    assert done.returncode == 0, done.stderr
    cfg = compose(["dataset=shapes", f"dataset.path={tmp_path / 'shapes.npz'}"], config_dir=tmp_path / "conf")
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    assert f"note: {splits.warning}" in done.stdout.splitlines()
    # Nothing can be learned from noise, and that is told as well, with the accuracy that was printed.
    (printed,) = re.findall(
        r"^test accuracy (\S+) \(95 % interval (\S+) to (\S+), 18 images\)", done.stdout, re.MULTILINE
    )
    guessing = "note: test accuracy {} (95 % interval {} to {}) is not shown to be better than always answering"
    assert guessing.format(*printed) in done.stdout
    client = open_store(f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}")
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.data.tags["hcr.duplicates_test"] == str(splits.duplicates_test) != "0"
    assert run.data.tags["hcr.duplicates_val"] == str(splits.duplicates_val) != "0"
    assert "is not shown to be better than always answering the largest class" in run.data.tags["mlflow.note.content"]


def test_how_pixels_were_read_is_told_and_names_with_brackets_are_shown(hcr: Hcr, tmp_path: Path) -> None:
    shapes(tmp_path)
    ink = np.random.default_rng(0).integers(0, 2, (90, 12, 10))
    np.savez(tmp_path / "[b]shapes.npz", x=ink, y=np.arange(90) % 3)
    done = hcr("data", "dataset=shapes", "dataset.path='[b]shapes.npz'", "dataset.class_names=['[b]','[/b]','c']")
    assert (done.returncode, done.stderr) == (0, "")
    assert "note: [b]shapes.npz: its pixels from 0 to 1 are scaled to 0 to 255" in done.stdout.splitlines()
    assert "from           [b]shapes.npz" in done.stdout.splitlines()
    assert re.search(r"^\s*\[b\] +\d+", done.stdout, re.MULTILINE)
    assert re.search(r"^\s*\[/b\] +\d+", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("inside", ["", "data"])
def test_pictures_that_cannot_be_written_are_one_line(hcr: Hcr, tmp_path: Path, inside: str) -> None:
    """A file stands where a folder has to be: the output root, or the folder in it."""
    blocked = tmp_path / "root" / inside
    blocked.parent.mkdir(exist_ok=True)
    blocked.touch()
    done = hcr("data", env={"HCR_OUTPUT_DIR": str(tmp_path / "root")})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"hcr: {tmp_path / 'root' / 'data'}: expected a folder that can be written (")
    assert line.endswith("); HCR_OUTPUT_DIR names another")


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_picture(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from hcr.cli import main; from hcr.commands import data\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); draw = data.draw_data\n"
        "def draw_on_full_disk(*given):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); return draw(*given)\n"
        "data.draw_data = draw_on_full_disk; sys.exit(main(['data']))"
    )
    env = {**os.environ, "HCR_OUTPUT_DIR": str(tmp_path / "root")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "expected a folder that can be written ([Errno 27] File too large" in line
    assert list((tmp_path / "root" / "data").iterdir()) == []
