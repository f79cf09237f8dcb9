"""What Keras does not need is not imported, and a package that does not import is one line that names it."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Hcr

from hcr.config.errors import HcrError
from hcr.importing import import_needed, refusal_of


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that is there and cannot be imported, as after half an upgrade."""
    package = tmp_path / "half_installed"
    package.mkdir()
    (package / "__init__.py").write_text("raise AttributeError('module numpy has no attribute float')")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package.name


def test_whatever_an_import_raises_is_told_with_the_package(broken: str) -> None:
    with pytest.raises(HcrError) as told:
        import_needed(f"{broken}.inner")
    assert str(told.value) == (
        "half_installed: expected a package that can be imported, got AttributeError: module numpy has no attribute"
        " float; install it again"
    )


def test_keras_is_imported_without_what_hcr_does_not_use_of_it() -> None:
    code = (
        "import gc, sys, hcr.importing as i\n"
        "there = lambda: [name for name in i.OPTIONAL_FOR_KERAS if name in sys.modules]\n"
        "i.import_keras()\n"
        "frozen = gc.get_freeze_count()\n"
        "print(there(), gc.isenabled(), frozen > 0)\n"
        "kept = [[] for _ in range(1000)]\n"
        "i.import_keras()\n"
        "print(gc.get_freeze_count() <= frozen)\n"
        "import keras, pandas, sklearn.datasets, matplotlib.pyplot\n"
        "print(there(), keras.Sequential([keras.layers.Input([2]), keras.layers.Dense(1)]).count_params())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    told = ["[] True True", "True", "['matplotlib', 'pandas', 'sklearn'] 3"]
    assert done.stdout.splitlines() == told, done.stderr


def test_a_package_is_hidden_from_one_thread_and_found_by_others() -> None:
    code = (
        "import sys, threading, hcr.importing as i\n"
        "def here():\n"
        "    try: import wave\n"
        "    except ModuleNotFoundError as error: return error.name\n"
        "    return sys.modules['wave'].__name__ + ' is found'\n"
        "told = []\n"
        "with i._hidden(['wave']):\n"
        "    told.append(here())\n"
        "    other = threading.Thread(target=lambda: told.append(here())); other.start(); other.join()\n"
        "print(told, here())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['wave', 'wave is found'] wave is found\n"


def test_a_traceback_in_place_of_a_message_is_not_repeated() -> None:
    def like_tensorflow() -> None:
        try:
            raise ImportError("libthis.so: no such file")
        except ImportError as error:
            raise ImportError("Traceback (most recent call last):\n  File ...") from error

    with pytest.raises(HcrError, match=r"^tensorflow: .* got ImportError: libthis\.so: no such file; install it"):
        import_needed("tensorflow", like_tensorflow)


def test_an_import_that_fails_somewhere_names_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outer_one.py").write_text("import inner_one")
    (tmp_path / "inner_one.py").write_text("raise ImportError('libthat.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, named in (("outer_one", "inner_one"), ("absent_one.part", "absent_one")):
        with pytest.raises(ImportError) as error:
            __import__(name)
        assert str(refusal_of(error.value)).startswith(f"{named}: expected a package that can be imported, got ")


@pytest.mark.parametrize(
    ("argv", "package"),
    [
        pytest.param(["train"], "scipy", marks=pytest.mark.slow),
        pytest.param(["train", "-m", "seed=0,1"], "scipy", marks=pytest.mark.exhaustive),
        pytest.param(["train", "-m", "seed=0,1"], "mlflow", marks=pytest.mark.slow),
        (["data"], "PIL"),
    ],
)
def test_a_broken_package_is_one_line_in_every_verb(hcr: Hcr, tmp_path: Path, argv: list[str], package: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / f"{package}.py").write_text("raise ImportError('libx.so: cannot open shared object file')")
    done = hcr(*argv, env={"PYTHONPATH": str(tmp_path / "broken")})
    assert done.returncode == 1
    assert done.stderr == (
        f"hcr: {package}: expected a package that can be imported, got ImportError: libx.so: cannot open shared"
        " object file; install it again\n"
    )
    assert not (tmp_path / "output" / "runs").exists()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (
            "mlflow.py",
            "mlflow: expected a package that can be imported, got ImportError: libx.so: cannot open shared object file;"
            " install it again",
        ),
        (
            "sitecustomize.py",
            "mlflow: expected a package that can be imported, got ModuleNotFoundError: No module named 'mlflow';"
            " install it again",
        ),
    ],
    ids=["broken", "absent"],
)
def test_an_mlflow_that_is_broken_or_absent_is_one_line_of_hcr_ui(
    hcr: Hcr, tmp_path: Path, how: str, told: str
) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / how).write_text(
        "raise ImportError('libx.so: cannot open shared object file')"
        if how == "mlflow.py"
        else "import sys; sys.modules['mlflow'] = None"
    )
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "mlflow.db").touch()
    done = hcr("ui", env={"PYTHONPATH": str(tmp_path / "path")})
    assert (done.returncode, done.stderr) == (1, f"hcr: {told}\n")
