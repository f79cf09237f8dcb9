"""A stop signal ends a command in one line, at any moment and however many arrive; real signals to real processes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Hcr

from hcr.tracking.events import first_event, last_event
from hcr.tracking.journal import Journal
from hcr.tracking.place import store_of
from hcr.tracking.status import is_delivered

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

# A process of its own that sends itself a signal, so that each arrives at a moment that is known.
SMALL = """
import os, signal, sys, time
from hcr import stopping
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
def send(*numbers):
    for number in numbers or (signal.SIGINT,):
        os.kill(os.getpid(), number)
stopping.handle_until_exit()
"""


def small(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", SMALL + code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("number", SIGNALS)
def test_before_anything_is_recorded_a_signal_is_one_line_even_where_exceptions_are_swallowed(number: int) -> None:
    done = small(f"""
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # as during TensorFlow's import
print("printed before")
try:
    send({int(number)})
except BaseException:
    pass
print("reached")
""")
    assert (done.returncode, done.stderr) == (130, "hcr: interrupted; nothing had begun\n")
    assert done.stdout == "printed before\n"


def test_further_signals_do_not_interrupt_the_cleanup() -> None:
    done = small("""
try:
    with stopping.recording():
        try:
            send(signal.SIGINT, signal.SIGTERM)
            print("not reached")
        finally:
            for step in range(3):
                send(*stopping.SIGNALS)
                print("cleaned", step)
except KeyboardInterrupt:
    sys.exit(stopping.leave("interrupted; kept"))
""")
    assert (done.returncode, done.stderr) == (130, "hcr: interrupted; kept\n")
    assert done.stdout == "cleaned 0\ncleaned 1\ncleaned 2\n"


def test_what_must_not_be_left_half_done_is_done_first() -> None:
    done = small("""
try:
    with stopping.recording():
        with stopping.deferred():
            with stopping.deferred():
                send()
            print("whole")
        print("not reached")
except KeyboardInterrupt:
    print("stopped")
""")
    assert done.stdout == "whole\nstopped\n"


def test_an_interrupt_that_a_destructor_swallowed_comes_again_without_a_traceback() -> None:
    done = small("""
class Swallows:
    def __del__(self):
        send()
try:
    with stopping.recording():
        Swallows()
        print("swallowed")
        stopping.check()
        print("not reached")
except KeyboardInterrupt:
    print("stopped")
""")
    assert (done.stdout, done.stderr) == ("swallowed\nstopped\n", "")


def test_a_signal_that_the_parent_ignores_stays_ignored() -> None:
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + SMALL + "send(signal.SIGHUP); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


def test_once_python_is_leaving_the_outcome_stands() -> None:
    done = small("import atexit; stopping._ignore(); send(*stopping.SIGNALS); sys.exit(7)")
    assert (done.returncode, done.stderr) == (7, "")


def test_a_program_that_calls_a_command_has_its_own_handlers_back() -> None:
    done = small("""
stopping._state.reset()
mine = lambda *_: print("mine")
signal.signal(signal.SIGTERM, mine)
with stopping.handled():
    assert signal.getsignal(signal.SIGTERM) is not mine
send(signal.SIGTERM)
""")
    assert (done.returncode, done.stdout) == (0, "mine\n")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("swallowed", [False, True])
def test_a_signal_ends_a_command_but_not_the_program_that_calls_it(number: int, swallowed: bool) -> None:
    done = small(f"""
stopping._state.reset()
def command():
    try:
        send({int(number)})
    except KeyboardInterrupt:  # as some imports do
        if not {swallowed}:
            raise
    with stopping.recording():
        print("not reached")
def broken():
    try:
        send({int(number)})
    except KeyboardInterrupt:
        raise ImportError("half imported")
for each in command, broken:
    try:
        with stopping.handled():
            each()
    except KeyboardInterrupt:
        print("stopped")
print("alive")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\nstopped\nalive\n", "")


def test_what_must_not_be_left_half_done_is_done_first_where_nothing_is_recorded_too() -> None:
    done = small("""
stopping.set_line("interrupted; kept")
with stopping.deferred():
    send(signal.SIGTERM, signal.SIGINT)
    print("whole")
print("not reached")
""")
    assert (done.returncode, done.stdout, done.stderr) == (130, "whole\n", "hcr: interrupted; kept\n")


def test_runs_that_are_aimed_at_another_store_all_are_whenever_a_signal_comes(tmp_path: Path) -> None:
    for _ in range(2):
        journal = Journal(tmp_path / "output", uri=f"sqlite:///{tmp_path}/old.db", experiment="hcr")
        journal.begin(name="run", tags={})
        journal.end("FINISHED")
        journal.release()
    code = """
import os, signal, sys
import hcr.tracking.aim as aim
from hcr.cli import main
real = aim.write_choice
def first(*arguments, **keywords):
    os.kill(os.getpid(), signal.SIGTERM)
    real(*arguments, **keywords)
aim.write_choice = first
sys.exit(main())
"""
    to = f"sqlite:///{tmp_path}/new.db"
    done = subprocess.run(
        [sys.executable, "-c", code, "sync", "--to", to],
        env={**os.environ, "HCR_OUTPUT_DIR": str(tmp_path / "output")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "hcr: interrupted\n")
    folders = (tmp_path / "output" / "runs").iterdir()
    assert [store_of(folder, first_event(folder)) for folder in folders] == [to, to]


# A run that gets a burst of signals at one of its steps.
RUN = """
import os, signal, sys, time
import hcr.importing, hcr.launch
signal.signal(signal.SIGINT, signal.default_int_handler)
def burst():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(os.getpid(), number)
def before(owner, name, when=lambda *a: True):
    real = getattr(owner, name)
    def first(*arguments, **keywords):
        if when(*arguments):
            burst()
        return real(*arguments, **keywords)
    setattr(owner, name, first)
at = {at!r}
if at == "import":
    class Burst:
        def find_spec(self, name, path=None, target=None):
            if name == "keras.models":
                burst()
    sys.meta_path.insert(0, Burst())
elif at == "upload":
    from hcr.tracking.replay import Replay
    from hcr.tracking.events import last_event
    def upload(self, should_continue=lambda: True):
        if last_event(self._folder).get("event") == "end":
            burst()
        time.sleep(0.1)
        return False
    Replay.upload = upload
elif at == "end":
    from hcr.tracking.journal import Journal
    before(Journal, "end")
elif at == "journal":
    from hcr.tracking.journal import Journal
    before(Journal, "_append", lambda self, line: b'"step": 2' in line)
else:
    with hcr.importing.without_greetings():
        import hcr.runner
    owner, _, step = at.rpartition(".")
    before(getattr(hcr.runner, owner) if owner else hcr.runner, step)
"""
MAIN = "from hcr.cli import main; sys.exit(main())"
NOTHING = "hcr: interrupted; nothing had begun\n"
RESUMES = "interrupted after epoch {epochs} of 3; the same command resumes run {key} in {folder}"
FINISHED = "interrupted; run {key} has finished and is in {folder}"
MOMENTS = {
    "import": None,
    "load_splits": None,
    "build": None,
    "Recorder.start": None,
    "fit": (0, RESUMES),
    "journal": (2, RESUMES),
    "score": (3, RESUMES),
    "Recorder.artifacts": (3, RESUMES),
    "end": (3, FINISHED),
    "upload": (3, FINISHED + "; `hcr sync` uploads the rest of it"),
}
IN_CI = ["import", "journal", "upload"]
CASES = [at if at in IN_CI else pytest.param(at, marks=pytest.mark.exhaustive) for at in MOMENTS]


@pytest.mark.slow
@pytest.mark.parametrize("at", CASES)
def test_four_signals_at_one_moment_are_one_line_that_says_what_is_kept(hcr: Hcr, tmp_path: Path, at: str) -> None:
    command = ["train", "training.epochs=3", "model.filters=4"]
    code = RUN.format(at=at)
    if at == "import":  # what was imported before is not imported again
        words = [sys.executable, "-c", code + MAIN, *command]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    else:
        done = hcr(*command, code=code)
    assert done.returncode == 130, done.stderr
    expected = MOMENTS[at]
    if expected is None:
        assert done.stderr == NOTHING
        assert not (tmp_path / "output" / "runs").exists()
        return
    epochs, line = expected
    (folder,) = (tmp_path / "output" / "runs").iterdir()
    told = "hcr: " + line.format(epochs=epochs, key=folder.name, folder=folder)
    if line == RESUMES and not is_delivered(folder):
        told += ", and `hcr sync` uploads what it has so far"
    assert done.stderr == told + "\n"
    assert last_event(folder)["status"] == ("KILLED" if line == RESUMES else "FINISHED")


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(60))
def test_signals_at_random_moments_are_one_line(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    command = ["training.epochs=6", "model.filters=4", "training.patience=null"]
    if seed % 3 == 2:
        command = ["-m", "seed=0,1", *command]
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from hcr.cli import main; print('begun', flush=True); sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train", *command],
        cwd=tmp_path,
        env={**os.environ, "HCR_OUTPUT_DIR": str(tmp_path / "output")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    if seed % 2:  # from its first printed line on, else from its start
        process.stdout.readline()
    time.sleep(draw.uniform(0, 15))
    for _ in range(draw.randint(1, 4)):
        if process.poll() is None:
            process.send_signal(draw.choice(SIGNALS))
        time.sleep(draw.choice([0.0, 0.01, 0.1, 0.3]))
    printed, stderr = process.communicate(timeout=180)
    if process.returncode == 0:  # the signals came as Python was leaving
        assert (stderr, "see it in MLflow" in printed) == ("", True)
        return
    assert process.returncode == 130, stderr
    assert len(stderr.splitlines()) == 1, stderr
    assert stderr.startswith("hcr: interrupted")
    folders = list((tmp_path / "output").glob("runs/*"))
    assert all(last_event(folder)["event"] == "end" for folder in folders)
