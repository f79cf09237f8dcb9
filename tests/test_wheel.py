"""The wheel: built from the tree, installed where nothing of ours is, run from elsewhere."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK

PROJECT = Path(__file__).parents[1]


def probabilities(folder: Path) -> np.ndarray:
    """Those of the test images, of the one run under the folder."""
    (predictions,) = (folder / "output" / "runs").glob("*/artifacts/predictions/test.npz")
    with np.load(predictions) as arrays:
        return np.asarray(arrays["probabilities"])


@pytest.mark.slow
def test_a_wheel_in_a_clean_environment_trains_like_the_tree(quick_run: Path, tmp_path: Path) -> None:
    # From what git tracks: what an earlier build left in ./build would be packed too.
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (PROJECT / name).is_file():  # one that is deleted and not committed yet is none
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("hcr-*.whl")
    venv.create(tmp_path / "venv")
    python = str(tmp_path / "venv" / "bin" / "python")
    # The locked dependencies are those of these tests (`make train` installs them); nothing of ours comes with them.
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        is_ours = entry.name.startswith(("hcr", "__editable__", "hydra_plugins", "__pycache__"))
        if not is_ours and not (packages / entry.name).exists():
            (packages / entry.name).symlink_to(entry)
    subprocess.run([*pip, "--python", python, "install", "--no-deps", str(wheel)], check=True, capture_output=True)

    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment["HCR_OUTPUT_DIR"] = str(tmp_path / "output")
    here = "import hcr, hcr.conf; print(hcr.__file__); print(list(hcr.conf.__path__)[0])"
    places = subprocess.run([python, "-c", here], cwd="/", env=environment, capture_output=True, text=True, check=True)
    assert all(place.startswith(str(tmp_path / "venv")) for place in places.stdout.split())
    done = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "hcr"), "train", *QUICK],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert probabilities(tmp_path).tobytes() == probabilities(quick_run).tobytes()
