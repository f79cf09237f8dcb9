"""`hcr data PATH`: from a file or folder to a YAML that reads it, in two commands."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from hcr.cli import main
from hcr.commands.data_yaml import name_of
from hcr.data.splitting import load_splits
from hcr.gate.compose import compose
from hcr.gate.resolve import fill_from_data

NAMES = ("n", "y", "null", "ß", "+", "あ", "10", "2", "a b", "1e3")
DIGITS = load_digits()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "output"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HCR_CONF_DIR", raising=False)
    return tmp_path


def scans(folder: Path, count: int = 300) -> Path:
    """Dark digits on light paper, of several sizes, one folder a class."""
    for i in range(count):
        place = folder / NAMES[DIGITS.target[i]]
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((255 - DIGITS.images[i] * 15.9375).astype(np.uint8))
        picture.resize((10 + i % 5, 12 + i % 3)).save(place / f"{i}.png")
    return folder


def test_the_yaml_of_a_folder_reads_the_folder(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans(own_folder / "my scans")
    assert main(["data", "my scans"]) == 0
    told = capsys.readouterr()
    assert told.err.splitlines()[0].startswith("my scans: 300 images of ")
    assert "format folder" in told.err.splitlines()[0]
    assert any(line.startswith("note: ") and "inverted" in line for line in told.err.splitlines())
    file = own_folder / "conf" / "dataset" / "my_scans.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(told.out)
    cfg = compose(["dataset=my_scans"])
    assert fill_from_data(cfg) == cfg  # nothing is left open
    assert cfg.dataset.name == "my_scans"
    assert set(cfg.dataset.class_names or ()) == set(NAMES)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    direct = fill_from_data(compose(["dataset=folder", "dataset.path='my scans'"]))
    assert load_splits(direct.dataset, direct.split, direct.seed).split_digest == splits.split_digest
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 300


def test_groups_choose_the_split_and_overrides_become_part_of_the_yaml(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(own_folder / "letters.npz", x=DIGITS.images[:300] * 15, y=DIGITS.target[:300], group=np.arange(300) // 6)
    assert main(["data", "letters.npz", "dataset.image_size=[12,12]", "dataset.pixels=0..255"]) == 0
    told = capsys.readouterr()
    assert "  - override /split@_global_.split: grouped" in told.out.splitlines()
    assert f'path: "{own_folder / "letters.npz"}"' in told.out
    assert "\nimage_size: [12, 12]" in told.out
    assert 'pixels: "0..255"' in told.out
    assert "split=grouped: " in told.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "hcr: nowhere: expected a file or folder, and found none there; or overrides such as"),
        (["a.txt"], "hcr: a.txt: expected images and labels in a known format ("),
        (["a.txt", "conf"], "hcr: hcr data: expected one file or folder, got 'a.txt' and 'conf'"),
        (["a.npz"], "hcr: "),
        (["a.txt", "--json"], "hcr: hcr data: expected no --json with a.txt"),
        (["a.txt", "seed=1,2"], "hcr: a.txt: expected images"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_prints_no_yaml(
    own_folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    (own_folder / "a.txt").write_text("a letter to a friend")
    (own_folder / "a.npz").write_bytes(b"PK\x03\x04" + bytes(26) + b"x.npy")
    (own_folder / "conf").mkdir()
    assert main(["data", *words]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(told)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("scans", "scans"),
        ("/data/My scans (2)", "My_scans_2"),
        ("letters.csv.gz", "letters"),
        ("train-images-idx3-ubyte", "train-images-idx3-ubyte"),
        ("emnist.v2.mat", "emnist_v2"),
        ("あいう", "data"),
        ("2024", "data_2024"),
        ("folder", "folder_data"),
        ("npz.npz", "npz_data"),
        ("null", "null_data"),
        ("x" * 300 + ".npz", "x" * 40),
        ("a/b;rm -rf $HOME", "b_rm_-rf_HOME"),
        ("-rf", "rf"),
    ],
)
def test_a_name_is_safe_in_a_file_name_and_on_the_command_line(path: str, name: str) -> None:
    assert name_of(Path(path)) == name
