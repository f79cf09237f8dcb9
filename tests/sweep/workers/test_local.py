"""Trials as processes of this machine: what is heard of them, how they end, and what they are forked from."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hcr import stopping
from hcr.config.errors import ConfigError, HcrError
from hcr.gate.compose import compose
from hcr.sweep.ledger import new_key
from hcr.sweep.sweep import check_gpu
from hcr.sweep.trial import OUTPUT, Task, write_trial
from hcr.sweep.workers import LOST, Began, Ended, Epoch, Event, WorkersLost
from hcr.sweep.workers.local import Local
from hcr.tracking.events import last_event, read_events

pytestmark = pytest.mark.slow

SMALL = (
    "training.steps_per_epoch=1",
    "model=mlp",
    "model.dense_units=[8]",
    "training.threads=1",
    "training.patience=null",
)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    workers = Local(tmp_path_factory.mktemp("here"), 2, cfg=compose(list(SMALL)))
    yield workers
    workers.close()


def trial(folder: Path, epochs: int, *, waits: bool = False) -> tuple[Path, Path]:
    """The folder of a trial, and that of the run that it will be."""
    task = Task(
        key=new_key(),
        root=str(folder / "output"),
        uri="sqlite:////nowhere.db",
        experiment="tests",
        parent="a1",
        name="x",
        overrides=[],
        tags={},
        dataset_digest=None,
        monitor="val/loss",
        waits=waits,
    )
    path = folder / "trials" / task.key
    write_trial(path, task, compose([*SMALL, f"training.epochs={epochs}"]))
    return path, task.run


def until_ended(local: Local, count: int = 1) -> list[Event]:
    events: list[Event] = []
    deadline = time.monotonic() + 120
    while sum(isinstance(event, Ended) for event in events) < count:
        assert time.monotonic() < deadline
        events += local.events(0.2)
    return events


def until(local: Local, kind: type) -> Event:
    deadline = time.monotonic() + 120
    while True:
        assert time.monotonic() < deadline
        for event in local.events(0.2):
            if isinstance(event, kind):
                return event


def statuses(run: Path) -> list[str]:
    return [event["status"] for event, _ in read_events(run) if event["event"] == "end"]


def test_a_trial_is_heard_of_from_its_beginning_to_its_end(local: Local, tmp_path: Path) -> None:
    folder, run = trial(tmp_path, 3)
    local.start(folder)
    began, *epochs, ended = until_ended(local)
    assert (began, ended) == (Began(folder), Ended(folder, 0))
    assert [(type(event), event.folder) for event in epochs] == [(Epoch, folder)] * 3
    told = [event["values"]["val/loss"] for event, _ in read_events(run) if "val/loss" in event.get("values", {})]
    assert [(event.epoch, event.value) for event in epochs if isinstance(event, Epoch)] == list(enumerate(told, 1))
    assert statuses(run) == ["FINISHED"]


def test_a_trial_that_waits_is_pruned_in_the_epoch_that_is_answered_so(local: Local, tmp_path: Path) -> None:
    folder, run = trial(tmp_path, 50, waits=True)
    local.start(folder)
    for epoch, goes_on in ((1, True), (2, False)):
        event = until(local, Epoch)
        assert isinstance(event, Epoch) and event.epoch == epoch
        time.sleep(0.3)  # it trains no further meanwhile
        assert local.events(0.1) == []
        local.answer(folder, go_on=goes_on)
    assert until_ended(local) == [Ended(folder, 0)]
    assert statuses(run) == ["KILLED"]
    tags = {
        name: value
        for event, _ in read_events(run)
        if event["event"] == "tags"
        for name, value in event["values"].items()
    }
    assert tags["hcr.pruned"] == "after epoch 2 of 50"


def test_a_trial_that_is_stopped_writes_that_down_and_one_that_is_killed_goes_on(local: Local, tmp_path: Path) -> None:
    told, killed = trial(tmp_path, 500), trial(tmp_path, 500)
    for folder, _ in (told, killed):
        local.start(folder)
    heard: set[Path] = set()
    while len(heard) < 2:
        heard.add(until(local, Epoch).folder)
    local.stop(told[0])
    local.stop(killed[0], at_once=True)
    ended = {event.folder: event.code for event in until_ended(local, 2) if isinstance(event, Ended)}
    assert ended == {told[0]: stopping.INTERRUPTED, killed[0]: -signal.SIGKILL}
    assert (statuses(told[1]), statuses(killed[1])) == (["KILLED"], [])
    before = len(list(read_events(killed[1])))
    local.start(killed[0])
    first = until(local, Epoch)
    assert isinstance(first, Epoch) and first.epoch > 1
    assert [event["event"] for event, _ in read_events(killed[1])][before] == "resume"
    local.stop(killed[0])
    until_ended(local)


def test_what_is_called_returns_or_says_why_not(local: Local, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"

    def nothing() -> None:
        pass

    assert local.call(os.path.join, "a", "b", log=log, meanwhile=nothing) == "a/b"
    with pytest.raises(HcrError, match=r"^ValueError: invalid literal for int\(\) with base 10: 'x'$"):
        local.call(int, "x", log=log, meanwhile=nothing)
    with pytest.raises(HcrError, match=r"^its process ended with exit code 7$"):
        local.call(os._exit, 7, log=log, meanwhile=nothing)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local.call(time.sleep, 300, log=log, meanwhile=interrupt)


def gpu_of(folder: Path) -> str:
    return (folder / OUTPUT).read_text().splitlines()[0]


def test_a_trial_has_a_gpu_of_its_own_which_goes_to_the_next_one(tmp_path: Path) -> None:
    local = Local(tmp_path / "local", 2, gpus=("3", "GPU-7d0c"))
    try:
        first, second, third, fourth = (trial(tmp_path, 500)[0] for _ in range(4))
        for folder in (first, second):
            local.start(folder)
        heard: set[Path] = set()
        while len(heard) < 2:
            heard.add(until(local, Epoch).folder)
        assert gpu_of(first) == "CUDA_VISIBLE_DEVICES=3"
        assert gpu_of(second) == "CUDA_VISIBLE_DEVICES=GPU-7d0c"
        for stopped, following, at_once in ((second, third, True), (first, fourth, False)):
            local.stop(stopped, at_once=at_once)
            while until(local, Ended).folder != stopped:
                pass
            local.start(following)
            while until(local, Epoch).folder != following:
                pass
            assert gpu_of(following) == gpu_of(stopped)
    finally:
        local.close()


LOOKED_FOR_DEVICES = "__import__('tensorflow.python.eager.context', fromlist=['context']).context()._physical_devices"


def test_tensorflow_is_imported_before_a_trial_is_forked_but_looks_for_devices_after(
    local: Local, tmp_path: Path
) -> None:
    found = local.call(eval, "'tensorflow' in __import__('sys').modules", log=tmp_path / "log", meanwhile=lambda: None)
    assert found
    assert local.call(eval, LOOKED_FOR_DEVICES, log=tmp_path / "log", meanwhile=lambda: None) is None


def test_a_sweep_is_refused_before_its_first_trial_if_tensorflow_has_no_gpu(local: Local, tmp_path: Path) -> None:
    on_gpu, on_cpu = (compose([*SMALL, f"training.device={device}"]) for device in ("gpu", "cpu"))
    check_gpu(local, tmp_path, [on_cpu], lambda: None)
    with pytest.raises(ConfigError, match=r"^training\.device: TensorFlow has no GPU"):
        check_gpu(local, tmp_path, [on_cpu, on_gpu], lambda: None)


def test_a_program_s_own_main_is_not_run_again(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os\nprint('main', flush=True)\nfrom pathlib import Path\nfrom hcr.sweep.workers.local import Local\n"
        f"local = Local(Path({str(tmp_path / 'here')!r}), 1)\n"
        f"print(local.call(abs, -3, log=Path({str(tmp_path / 'log')!r}), meanwhile=lambda: None))\nlocal.close()\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout == "main\n3\n"


def test_the_process_that_trials_are_forked_from_may_die_twice(local: Local, tmp_path: Path) -> None:
    folder, run = trial(tmp_path, 500)
    for _ in range(3):
        local.start(folder)
        until(local, Epoch)
        assert local._server is not None
        os.kill(local._server, signal.SIGKILL)
        assert until_ended(local)[-1] == Ended(folder, LOST)
    assert last_event(run)["event"] != "end"
    with pytest.raises(WorkersLost, match="died 3 times"):
        local.start(folder)
        until(local, Epoch)
