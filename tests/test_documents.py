"""The README says what is true: its commands run, its errors are ours, its tables are complete."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DATA_DIR, Hcr
from omegaconf import OmegaConf

from hcr.gate.compose import Composer, compose
from hcr.gate.run_config import to_dict

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()
DOCUMENTS = "\n".join(
    (PROJECT / name).read_text()
    for name in (
        "README.md",
        "conf/README.md",
        "hcr/README.md",
        "hcr/evaluation/README.md",
        "hcr/sweep/README.md",
        "hcr/tracking/README.md",
    )
)
COMMANDS = sorted(
    {line.split("  #")[0].strip() for line in DOCUMENTS.splitlines() if re.match(r"hcr train .*  #", line)}
)
REFUSALS = re.findall(r"^\$ (hcr train .*)\n(hcr: .*)$", DOCUMENTS, flags=re.MULTILINE)


def test_the_readme_has_commands_and_refusals_to_check() -> None:
    assert len(COMMANDS) >= 6
    assert len(REFUSALS) >= 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_passes_the_gate(command: str, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()  # with the YAML that `hcr data scans` writes
    (tmp_path / "dataset" / "scans.yaml").write_text("defaults: [folder, _self_]\nname: scans\npath: scans\n")
    _, _, *words = shlex.split(command)
    overrides = [word for word in words if word not in ("-m", "--cfg", "job", "--help", "model.depth")]
    composer = Composer(tmp_path, config_of_run=lambda _: OmegaConf.create(to_dict(compose())))
    checked = composer.check(overrides, multirun="-m" in words)
    is_sweep = "-m" in words or any(word.startswith("sweep=") for word in words)
    assert checked.multirun is is_sweep
    assert (len(checked.configs) > 1) is is_sweep


@pytest.mark.parametrize(("command", "answer"), REFUSALS)
def test_every_refusal_of_the_readme_is_what_hcr_says(command: str, answer: str, hcr: Hcr) -> None:
    done = hcr(*shlex.split(command)[1:])
    assert (done.returncode, done.stderr) == (1, answer + "\n")


@pytest.mark.slow
def test_the_python_of_the_readme_trains_a_run_and_reads_its_result(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README.split("## From Python")[1], flags=re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"0\.\d{{4}} on 360 images, kept in {tmp_path}/output/runs/\w+\n", done.stdout)
    (journal,) = (tmp_path / "output" / "runs").glob("*/journal.jsonl")
    assert json.loads(journal.read_text().splitlines()[-1])["status"] == "FINISHED"
    assert json.loads((journal.parent / "delivered.json").read_text())["ended"]


OTHER_FOLDERS = ("__pycache__", "hydra")


def test_the_readme_lists_every_choice_of_every_group() -> None:
    table = {row[1]: row[2] for row in re.findall(r"^(\| (`[a-z`, ]+`) \| (.*) \|)$", DOCUMENTS, flags=re.MULTILINE)}
    listed = {group.strip("` "): text for groups, text in table.items() for group in groups.split(",")}
    for folder in sorted(
        path for path in (PROJECT / "conf").iterdir() if path.is_dir() and path.name not in OTHER_FOLDERS
    ):
        for file in folder.glob("*.yaml"):
            assert f"`{file.stem}`" in listed[folder.name], f"{folder.name}={file.stem}"


def test_the_yaml_shown_is_the_yaml_there_is() -> None:
    shown = re.findall(r"^.{55}((?:name|depth|filters|dense_units|dropout): \S+)", README, flags=re.MULTILINE)
    real = (PROJECT / "conf" / "model" / "cnn.yaml").read_text()
    assert len(shown) == 5
    assert [line for line in shown if f"\n{line}" not in real] == []


def test_the_part_that_is_shown_is_a_real_one() -> None:
    section = README.split("## Add a part")[1]
    shown = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)[0]
    assert shown == (PROJECT / "hcr/model/schedules/exponential.py").read_text()


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 250


@pytest.mark.parametrize("name", re.findall(r"\]\(([\w/.]+)\)", README))
def test_what_the_readme_links_to_is_there(name: str) -> None:
    assert (PROJECT / name).exists()


def test_a_new_architecture_is_two_files(tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "hcr", tmp_path / "hcr", ignore=ignore)
    shutil.copytree(PROJECT / "conf", tmp_path / "hcr" / "conf", ignore=ignore)
    (tmp_path / "hcr" / "model" / "architectures" / "toy.py").write_text(TOY)
    (tmp_path / "hcr" / "conf" / "model" / "toy.yaml").write_text("name: toy\nunits: 3\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for words, told in (
        (["train", "model=toy", "model.units=7", "check_only=true"], f"{65 * 7 + 8 * 10:,}"),
        (["train", "model=toy", "model.units=0"], "model.units: expected an integer of 1 or more, got 0"),
        (["train", "model=toy", "--help", "model.units"], "width of the one layer"),
        (["schema", "model/toy"], "width of the one layer"),
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "hcr", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert told in done.stdout + done.stderr


TOY = '''
"""A toy."""

from typing import Annotated

from pydantic import Field

from hcr.config.settings import Count
from hcr.model.architectures import Architecture


class Toy(Architecture):
    """One dense layer."""

    units: Annotated[Count, Field(description="width of the one layer")]

    def build(self, x):
        from keras import layers

        return layers.Dense(self.units, activation="relu")(layers.Flatten()(x))
'''


def test_no_address_of_a_package_index_is_in_a_lock_file() -> None:
    for name in ("requirements.lock", "tests/requirements.lock"):
        text = (PROJECT / name).read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)


def test_the_real_data_stays_outside_the_project() -> None:
    assert not str(DATA_DIR.resolve()).startswith(str(PROJECT))
    # What git tracks, not what lies here: runs leave their predictions in ./hcr-output.
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "README.md" in tracked
    assert [path for path in tracked if path.endswith((".mat", ".npz", ".gz", ".parquet"))] == []


def test_the_model_of_one_s_own_of_the_readme_is_a_model(hcr: Hcr, tmp_path: Path) -> None:
    section = README.split("Your own package")[1].split("\n## ")[0]
    (module,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    (entry_points,) = re.findall(r"```toml\n(.*?)```", section, flags=re.DOTALL)
    (group, name, value) = re.findall(r'entry-points\."([\w.]+)"\]\n(\w+) = "(.*)"', entry_points)[0]
    site = tmp_path / "site"
    info = site / "my_models-1.dist-info"
    info.mkdir(parents=True)
    (site / "my_models.py").write_text(module)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-models\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "tiny.yaml").write_text("name: tiny\nunits: 32\n")
    code = f"import sys; sys.path.insert(0, {str(site)!r})"
    done = hcr("train", "model=tiny", "model.units=64", "check_only=true", code=code)
    assert done.returncode == 0, done.stderr
    assert f"{65 * 64 + 65 * 10:,}" in done.stdout
