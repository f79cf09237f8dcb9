"""A package of somebody else's: installed, named, refused when misspelt, part of the code version."""

import os
import subprocess
import sys
import tarfile
import textwrap
from functools import partial
from pathlib import Path

import pytest
from conftest import Hcr, made_once

from hcr.tracking.store import open_store

PYPROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "their-models"
version = "1.0"

[tool.setuptools]
py-modules = ["their_models"]

[project.entry-points."hcr.models"]
theirs = "their_models:Theirs"

[project.entry-points."hcr.optimizers"]
their_sgd = "their_models:TheirSgd"

[project.entry-points."hcr.formats"]
their_format = "their_models:TheirFormat"

[project.entry-points."hcr.metrics"]
mean_confidence = "their_models:mean_confidence"
"""

MODULE = """
from hcr.data.formats import DataFormat
from hcr.model.architectures import Architecture
from hcr.model.optimizers import Optimizer


class Theirs(Architecture):
    units: int

    def build(self, x):
        from keras import layers

        return layers.Dense(self.units, activation="relu", name="theirs")(layers.Flatten()(x))


class TheirSgd(Optimizer):
    def build(self, learning_rate):
        import keras

        return keras.optimizers.SGD(learning_rate)


class TheirFormat(DataFormat):
    def load(self):
        from sklearn.datasets import load_digits

        digits = load_digits(n_class=3)
        return self.make_dataset(digits.images * 15, digits.target)


def mean_confidence(probabilities, labels):
    return probabilities.max(axis=1).mean()
"""

YAML = {
    "model/theirs.yaml": "name: theirs\nunits: 32\n",
    "optimizer/their_sgd.yaml": "name: their_sgd\nlearning_rate: 0.1\n",
    "dataset/theirs.yaml": "name: three_digits\nformat: their_format\nimage_shape: [8, 8, 1]\nnum_classes: 3\n"
    "class_names: [zero, one, two]\n",
}


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    """A project of their own: the package installed into `site`, their YAML in `conf`."""
    return made_once(shared / "theirs", install)


def install(folder: Path) -> None:
    source = folder / "package"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "their_models.py").write_text(MODULE)
    for name, text in YAML.items():
        (folder / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "conf" / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-deps"]
    subprocess.run(
        [*pip, "--no-build-isolation", "--target", str(folder / "site"), str(source)], check=True, capture_output=True
    )


@pytest.fixture
def hcr_with_theirs(folder: Path, hcr: Hcr) -> Hcr:
    return partial(hcr, cwd=folder, code=f"import sys; sys.path.insert(0, {str(folder / 'site')!r})")


@pytest.mark.slow
def test_their_model_optimizer_data_and_metric_train_by_name(hcr_with_theirs: Hcr, tmp_path: Path) -> None:
    done = hcr_with_theirs(
        "train", "model=theirs", "model.units=16", "optimizer=their_sgd", "dataset=theirs", "training.epochs=10"
    )
    assert done.returncode == 0, done.stderr
    client = open_store(f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}")
    run, *_ = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
    assert run.data.params["model.units"] == "16"
    assert run.data.metrics["model/params"] == 65 * 16 + 17 * 3
    assert run.data.metrics["test/accuracy"] > 0.9
    assert 0.4 < run.data.metrics["test/mean_confidence"] <= 1
    assert 0.4 < run.data.metrics["best/val_mean_confidence"] <= 1
    with tarfile.open(client.download_artifacts(run.info.run_id, "code/source.tar.gz")) as tar:
        assert "extensions/their_models/their_models.py" in tar.getnames()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model=thiers", "model: no 'thiers' here; did you mean 'theirs'?"),
        ("model.name=thiers", "model.name: no 'thiers' here; did you mean 'theirs'?"),
        ("model.unit=3", "model.unit: unknown key; did you mean 'model.units'?"),
        ("model.units=many", "model.units: expected an integer, got 'many'"),
        ("optimizer.name=thier_sgd", "optimizer.name: no 'thier_sgd' here; did you mean 'their_sgd'?"),
    ],
)
def test_what_is_theirs_is_refused_like_ours(override: str, told: str, hcr_with_theirs: Hcr) -> None:
    words = [override] if override.startswith("model=") else ["model=theirs", override]
    done = hcr_with_theirs("train", *words, light=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"hcr: {told}")


@pytest.mark.slow
def test_the_code_version_follows_their_source(folder: Path) -> None:
    code = textwrap.dedent(
        """
        from hcr.gate.compose import compose
        from hcr.gate.fingerprint import code_version
        print(code_version(compose(["model=theirs"])), code_version(compose([])))
        """
    )

    def versions() -> list[str]:
        environment = {**os.environ, "PYTHONPATH": str(folder / "site")}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # the file changes within a second, which bytecode may miss
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    file = folder / "site" / "their_models.py"
    before = versions()
    file.write_text(file.read_text() + "# changed\n")
    assert versions()[0] != before[0]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no_such_module:Thing", "cannot be imported (ModuleNotFoundError"),
        ("json:loads", "expected a class under Architecture"),
        ("buildless:Buildless", "expected a method `build`"),
        ("buildless:Decorated", "expected Decorated without @dataclass"),
    ],
)
def test_a_package_that_is_wrong_is_named(value: str, told: str, hcr: Hcr, tmp_path: Path) -> None:
    info = tmp_path / "bad_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-package\nVersion: 1\n")
    (tmp_path / "buildless.py").write_text(
        "from dataclasses import dataclass\n"
        "from hcr.model.architectures import Architecture\n"
        "class Buildless(Architecture): ...\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Decorated(Architecture):\n    def build(self, x): ...\n"
    )
    (info / "entry_points.txt").write_text(f"[hcr.models]\nbad = {value}\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    done = hcr("train", "model.name=bad", code=code, light=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("hcr: hcr.models: 'bad' of bad-package: ")
    assert told in line
