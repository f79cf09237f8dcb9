"""What the end of a run needs is found missing in its first seconds, not after hours of training."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import Hcr

from hcr.config import TrackingError
from hcr.readiness import check_room
from hcr.tracking.events import last_event


def poisoned(folder: Path, package: str) -> str:
    """A PYTHONPATH on which `package` is there and cannot be imported."""
    (folder / "poison").mkdir()
    (folder / "poison" / f"{package}.py").write_text(
        "raise ImportError('libbroken.so: cannot open shared object file')"
    )
    return str(folder / "poison")


AFTER_AN_EPOCH = """
import glob, os, time, hcr.readiness
real, hcr.readiness.HEAD_START_S = hcr.readiness._import_all, 0
def after_an_epoch(names):
    while not glob.glob(os.path.join(os.environ["HCR_OUTPUT_DIR"], "runs", "*", "checkpoint", "0*")):
        time.sleep(0.05)
    real(names)
hcr.readiness._import_all = after_an_epoch
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", ["matplotlib", pytest.param("mlflow", marks=pytest.mark.exhaustive)])
def test_a_broken_package_ends_the_run_early_and_by_name(hcr: Hcr, tmp_path: Path, package: str) -> None:
    command = ("train", "training.epochs=20000", "training.patience=null", "model.filters=4")
    # What was imported before is imported again, and found broken.
    code = "import sys\n"
    code += f"gone = ('{package}', 'hcr.evaluation', 'hcr.drawing', 'hcr.tracking.keras_model')\n"
    code += "for name in [name for name in sys.modules if f'{name}.'.startswith(tuple(f'{each}.' for each in gone))]:\n"
    code += "    del sys.modules[name]\n"
    code += f"sys.path.insert(0, {poisoned(tmp_path, package)!r})\n"
    done = hcr(*command, code=code + AFTER_AN_EPOCH)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"hcr: {package}: expected a package that can be imported, got ImportError: libbroken.so: cannot open shared"
        " object file; install it again"
    )
    (folder,) = (tmp_path / "output" / "runs").iterdir()
    assert last_event(folder)["status"] == "FAILED"
    assert list((folder / "checkpoint").iterdir()), "what was trained by then is kept"


def test_what_only_fails_beside_another_import_ends_no_run() -> None:
    code = (
        "import hcr.readiness as r, hcr.config\n"
        "tries = []\n"
        "def fails_once(names):\n"
        "    tries.append(1)\n"
        "    if len(tries) == 1: raise hcr.config.HcrError('partially initialized module')\n"
        "r._import_all = fails_once\n"
        "with r.EndOfRun(draws=True) as end:\n"
        "    end._may_import.set(); end._thread.join()\n"
        "    end.check(); end.check(); end.require()\n"
        "print(len(tries))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "3\n", done.stderr


def test_what_the_end_needs_is_imported_once_the_first_steps_are_done() -> None:
    code = (
        "import time, hcr.readiness as r\n"
        "r.HEAD_START_S = 1e9\n"
        "r._import_all = lambda names: print('imported', flush=True)\n"
        "with r.EndOfRun(draws=False) as end:\n"
        "    on_steps = end.checked(None)\n"
        "    time.sleep(0.2); print('first steps', flush=True)\n"
        "    on_steps(None); end._thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "first steps\nimported\n", done.stderr


def test_what_the_end_needs_is_not_imported_once_training_has_failed() -> None:
    code = (
        "import threading, hcr.readiness as r\n"
        "r._import_all = lambda names: print('imported')\n"
        "try:\n"
        "    with r.EndOfRun(draws=True) as end:\n"
        "        raise ValueError\n"
        "except ValueError:\n"
        "    print(end._thread.is_alive())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_an_import_in_the_middle_is_left_behind_by_an_interrupted_run_and_awaited_by_one_that_failed() -> None:
    code = (
        "import os, signal, sys, threading, time, hcr.readiness as r\n"
        "from hcr import stopping\n"
        "stopping.handle()\n"
        "importing = threading.Event()\n"
        "def slow(names):\n"
        "    importing.set(); time.sleep(float(sys.argv[1])); print('imported')\n"
        "r._import_all, r.HEAD_START_S = slow, 0\n"
        "try:\n"
        "    with stopping.recording(), r.EndOfRun(draws=True):\n"
        "        importing.wait()\n"
        "        os.kill(os.getpid(), signal.SIGTERM) if sys.argv[2:] else None\n"
        "        raise ValueError\n"
        "except ValueError:\n"
        "    print('failed')\n"
        "except KeyboardInterrupt:\n"
        "    stopping.leave('left')\n"
        "    print('not reached: Python would wait here')\n"
    )
    for arguments, expected in ((["0.5"], (0, "imported\nfailed\n")), (["100", "signal"], (130, ""))):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == expected, done.stderr


def test_a_disk_with_too_little_room_is_refused_before_training(tmp_path: Path) -> None:
    check_room(tmp_path / "not" / "yet", 400_000)
    with pytest.raises(TrackingError, match=r"not/yet: expected about [\d,]+ MiB of free disk .*, got [\d,]+ MiB"):
        check_room(tmp_path / "not" / "yet", 10**15)
    assert not (tmp_path / "not").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_user_whom_the_system_does_not_know_trains_and_leaves_no_folder_called_tilde() -> None:
    place = Path(tempfile.mkdtemp(prefix="hcr-nobody-"))  # where another user may go
    place.chmod(0o777)
    may_read = "dac_read_search"  # Python itself, wherever it is installed; not to write
    who = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
    who += [f"--inh-caps=+{may_read}", f"--ambient-caps=+{may_read}"]
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME")}
    done = subprocess.run(
        [*who, sys.executable, "-m", "hcr", "train", "training=smoke", "model.filters=4"],
        cwd=place,
        env={**environment, "HCR_OUTPUT_DIR": str(place / "output")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in place.iterdir()] == ["output"]
    (folder,) = (place / "output" / "runs").iterdir()
    assert last_event(folder)["status"] == "FINISHED"
    subprocess.run(["rm", "-r", place], check=True)
