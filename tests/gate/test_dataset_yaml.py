"""The YAML of a data set reads back as the same settings, whatever its classes are called."""

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from hcr.data.formats.folder import Folder
from hcr.data.formats.npz import Npz
from hcr.gate.compose import compose
from hcr.gate.dataset_yaml import dataset_yaml, scalar_or_list, text_scalar, training_for

# What YAML 1.1, YAML 1.2 or Hydra read as something else than text, and text in other scripts.
WORDS = r"""
    y n N yes no on off true null ~ nan .inf 1 01 1e3 1_000 0x1f 12:30 2001-01-01 + - = << * & ! % @ ` ? $ ${x} \${x}
    ${oc.env:HOME} # [ ] { } , : ' " \ --- ... ß あ 文 é a-b a_b 10a _ 😀
"""
NAMES = WORDS.split()
NAMES += ["", " ", " a ", "a b", "a: b", "a #b", ", ", "a\nb", "a\tb", "\x7f", "\u2028", "\u200f", "'\"'"]


@pytest.mark.parametrize("name", NAMES)
def test_a_text_reads_back_as_itself(name: str) -> None:
    scalar = text_scalar(name)
    assert len(scalar.splitlines()) == 1
    text = f"list: [{scalar}, {scalar}]\nalone: {scalar}\n"
    assert OmegaConf.to_container(OmegaConf.create(text), resolve=True) == {"list": [name, name], "alone": name}
    if "${" not in name:
        assert yaml.safe_load(text) == {"list": [name, name], "alone": name}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (7, "7"), ((28, 28, 1), "[28, 28, 1]"), (("a", "n"), '[a, "n"]'), ((), "[]")],
)
def test_other_values_are_written_as_in_the_files(value: object, text: str) -> None:
    assert scalar_or_list(value) == text


def saved(folder: Path, text: str, name: str) -> Path:
    file = folder / "conf" / "dataset" / f"{name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return folder / "conf"


def test_a_saved_file_selects_the_same_data_set_and_its_split(tmp_path: Path) -> None:
    names = ("n", "y", "null", "1e3", "10", "+", "ß", "あ", "${x}", "a # b", "a: b", '"', "on")
    dataset = Folder(
        name="scans",
        format="folder",
        path="/data/my scans # 2: [old], {x} 'a' \"b\" ${y}",
        group=r"w(\d+)_#",
        skip_broken=True,
        image_size=(30, 20),
        color="gray",
        num_classes=len(names),
        class_names=names,
        classes=names[:5],
        has_official_test=False,
        has_groups=True,
        invert="true",
        pixels="0..255",
    )
    text = dataset_yaml(dataset, split="grouped", heading="scans: 3 images\nevil: true")
    cfg = compose(["dataset=scans"], config_dir=saved(tmp_path, text, "scans"))
    assert cfg.dataset == dataset
    assert cfg.split.name == "grouped"
    assert text.splitlines()[0] == "# scans: 3 images\\nevil: true"


def test_it_looks_like_the_files_that_ship(tmp_path: Path) -> None:
    dataset = Npz(name="a", format="npz", path="/a.npz", image_shape=(8, 8, 1), num_classes=2, class_names=("p", "q"))
    text = dataset_yaml(dataset, split="official", heading="two letters")
    lines = text.splitlines()
    assert lines[1:5] == ["defaults:", "  - override /split@_global_.split: official", "", lines[4]]
    keys = [line.partition(":")[0] for line in lines[4:]]
    assert keys[:3] == ["name", "format", "path"]
    assert not {"files", "url", "sha256", "limit"} & set(keys)
    assert "image_shape: [8, 8, 1]           # height, width, channels" in text
    assert lines[4].startswith("name: a                          # name of the data set")


def test_a_limit_and_a_download_are_kept(tmp_path: Path) -> None:
    dataset = Npz(
        name="a", format="npz", path=None, files=("a.npz",), url="https://example.org/a.npz", sha256="0" * 64, limit=60
    )
    text = dataset_yaml(dataset, split="auto", heading="a")
    assert compose(["dataset=a"], config_dir=saved(tmp_path, text, "a")).dataset == dataset


@pytest.mark.parametrize(
    ("num_train", "training"),
    [(84, "tiny"), (999, "tiny"), (1_000, "small"), (4_999, "small"), (5_000, None), (54_000, None)],
)
def test_few_images_are_trained_on_for_more_epochs(num_train: int, training: str | None, tmp_path: Path) -> None:
    assert training_for(num_train) == training
    dataset = Npz(name="a", format="npz", path="/a.npz", num_classes=2, class_names=("p", "q"))
    text = dataset_yaml(dataset, split="stratified", heading="a", training=training)
    cfg = compose(["dataset=a"], config_dir=saved(tmp_path, text, "a"))
    assert cfg.training == compose([f"training={training or 'default'}"]).training
    assert compose(["dataset=a", "training=smoke"], config_dir=tmp_path / "conf").training.epochs == 1
