"""Trials on a Ray cluster of two nodes, which are processes of this machine with folders of their own."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcr import stopping
from hcr.checkpoints import CHECKPOINT
from hcr.config import ConfigError
from hcr.config.launcher import RayConfig
from hcr.data.loading import load_dataset
from hcr.gate import RunConfig
from hcr.gate.compose import compose
from hcr.sweep.trial import ERROR, OUTPUT, Task, write_trial
from hcr.sweep.workers import LOST, Began, Ended, Epoch, Event, WorkersLost, ray
from hcr.sweep.workers.local import Local
from hcr.sweep.workers.ray import NEEDS_RAY, RayWorkers
from hcr.tracking.events import last_event, read_events
from hcr.tracking.lock import lock_run
from hcr.training.checkpoint import load_checkpoint

SMALL = ["model.depth=1", "model.filters=4", "training.threads=1", "training.batch_size=64"]
ARRAYS = ["dataset=letters", "split=stratified", "dataset.has_groups=false", "dataset.image_shape=[8,8,1]"]
ARRAYS += ["dataset.num_classes=10", "dataset.class_names=[a,b,c,d,e,f,g,h,i,j]"]
TIMEOUT_S = 180


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Ray whose head takes no trial, with two nodes of one CPU."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for name in "ab":
        cluster.add_node(num_cpus=1, env_vars={"TMPDIR": str(tmp_path_factory.mktemp(name))})
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def workers(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayWorkers]:
    found = RayWorkers(config(cluster.address), tmp_path_factory.mktemp("ray"), 1, configs=[compose(SMALL)])
    yield found
    found.close()


def config(address: str | None, **values: Any) -> RayConfig:
    rest = {"workers": None, "cpus_per_trial": None, "gpus_per_trial": 0.0, "transfer_every": 1}
    return RayConfig(name="ray", address=address, **rest | values)


class Trials:
    """Trials of a test; their folders are under the output root of the controller."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, number: int, cfg: RunConfig, *, waits: bool = False) -> Path:
        folder = self.root / "trials" / f"{number}"
        task = Task(
            key=f"a{number:011}",
            root=str(self.root),
            uri=f"sqlite:///{self.root}/mlflow.db",
            experiment="digits",
            parent="b00000000000",
            name=f"trial {number}",
            overrides=[],
            tags={},
            dataset_digest=load_dataset(cfg.dataset).digest,
            monitor=cfg.monitor,
            waits=waits,
        )
        write_trial(folder, task, cfg)
        return folder

    def run(self, number: int) -> Path:
        return self.root / "runs" / f"a{number:011}"


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    return Trials(tmp_path / "output")


def hear(workers: RayWorkers | Local, until: Callable[[list[Event]], bool]) -> list[Event]:
    """What is heard until that is enough."""
    heard: list[Event] = []
    deadline = time.monotonic() + TIMEOUT_S
    while not until(heard):
        assert time.monotonic() < deadline, heard
        heard += workers.events(0.5)
    return heard


def have_ended(*folders: Path) -> Callable[[list[Event]], bool]:
    return lambda heard: {event.folder for event in heard if isinstance(event, Ended)} >= set(folders)


def await_slots(workers: RayWorkers, slots: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while workers.slots != slots:
        assert time.monotonic() < deadline, workers.slots
        assert not [event for event in workers.events(0.5) if isinstance(event, Ended)]


def metrics(run: Path) -> dict[tuple[str, int], float]:
    """Every metric but those of time, by its name and step."""
    return {
        (name, event["step"]): value
        for event, _ in read_events(run)
        if event["event"] == "metrics"
        for name, value in event["values"].items()
        if not name.startswith("time/")
    }


@pytest.mark.slow
def test_trials_have_the_numbers_of_this_machine_without_its_files(
    workers: RayWorkers, trials: Trials, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 8, 8), np.uint8)
    data = tmp_path / "data.npz"
    np.savez(data, x=pixels, y=np.arange(400) % 10)
    cfg = compose([*SMALL, *ARRAYS, f"dataset.path={data}", "training.epochs=2"])
    here = Trials(tmp_path / "here")
    local = Local(tmp_path / "local", 1, cfg=cfg)
    local.start(folder := here.write(1, cfg))
    hear(local, have_ended(folder))
    local.close()

    folders = [trials.write(number, cfg) for number in (1, 2)]
    workers.start(folders[0])
    data.unlink()  # what a trial learns from was sent
    workers.start(folders[1])
    heard = hear(workers, have_ended(*folders))
    assert [event.code for event in heard if isinstance(event, Ended)] == [0, 0], (folders[0] / ERROR).read_text()
    for number, folder in zip((1, 2), folders, strict=True):
        own = [event for event in heard if event.folder == folder]
        assert own[0] == Began(folder) and [e.epoch for e in own if isinstance(e, Epoch)] == [1, 2]
        assert metrics(trials.run(number)) == metrics(here.run(1))
        assert last_event(trials.run(number))["status"] == "FINISHED"
        runs = (trials.run(number), here.run(1))
        names = [sorted(path.relative_to(run) for path in run.rglob("*")) for run in runs]
        assert names[0] == names[1]
        files = [np.load(run / "artifacts/predictions/val.npz") for run in runs]
        assert (files[0]["probabilities"] == files[1]["probabilities"]).all()
        assert (folder / OUTPUT).exists()


@pytest.mark.slow
def test_a_run_that_is_made_elsewhere_is_locked_here_until_it_is_pruned(workers: RayWorkers, trials: Trials) -> None:
    folder = trials.write(1, compose([*SMALL, "training.epochs=4"]), waits=True)
    workers.start(folder)
    for epoch in (1, 2):
        heard = hear(workers, lambda heard: any(isinstance(event, Epoch) for event in heard))
        assert [event.epoch for event in heard if isinstance(event, Epoch)] == [epoch]
        assert (trials.run(1) / "checkpoint" / f"{epoch:06}").exists()
        with pytest.raises(BlockingIOError):
            lock_run(trials.run(1))
        workers.answer(folder, go_on=epoch < 2)
    assert hear(workers, have_ended(folder)) == [Ended(folder, 0)]
    lock_run(trials.run(1)).close()
    tags = [event["values"] for event, _ in read_events(trials.run(1)) if event["event"] == "tags"]
    assert tags[-1] == {"hcr.pruned": "after epoch 2 of 4"}
    assert last_event(trials.run(1))["status"] == "KILLED"


@pytest.mark.slow
def test_a_stopped_trial_resumes_from_its_last_epoch_to_the_same_numbers(workers: RayWorkers, trials: Trials) -> None:
    cfg = compose([*SMALL, "training.epochs=3"])
    whole, cut = trials.write(1, cfg), trials.write(2, cfg, waits=True)
    workers.start(whole)
    workers.start(cut)
    heard = hear(workers, lambda heard: any(isinstance(event, Epoch) and event.folder == cut for event in heard))
    workers.stop(cut)
    heard += hear(workers, have_ended(cut))
    assert Ended(cut, stopping.INTERRUPTED) in heard
    if Ended(whole, 0) not in heard:  # which may end before the other has begun
        hear(workers, have_ended(whole))
    trials.write(2, cfg)
    workers.start(cut)
    heard = hear(workers, have_ended(cut))
    assert [event.epoch for event in heard if isinstance(event, Epoch)] == [2, 3]
    assert metrics(trials.run(2)) == metrics(trials.run(1))


@pytest.mark.slow
def test_a_node_that_joins_takes_trials_and_one_that_dies_costs_its_trials_a_try(
    cluster: Any, workers: RayWorkers, trials: Trials, tmp_path: Path
) -> None:
    await_slots(workers, 2)
    node = cluster.add_node(num_cpus=1, env_vars={"TMPDIR": str(tmp_path)})
    await_slots(workers, 3)
    cfg = compose([*SMALL, "training.epochs=4"])
    folders = [trials.write(number, cfg, waits=True) for number in (1, 2, 3)]
    for folder in folders:
        workers.start(folder)
    hear(workers, lambda heard: len([event for event in heard if isinstance(event, Epoch)]) == 3)
    for folder in folders:
        workers.answer(folder, go_on=True)
    cluster.remove_node(node, allow_graceful=False)
    heard = hear(workers, lambda heard: any(isinstance(event, Ended) for event in heard))
    (lost,) = [event for event in heard if isinstance(event, Ended)]
    assert lost.code == LOST
    assert workers.slots == 2 or not hear(workers, lambda _: workers.slots == 2)
    lock_run(trials.run(folders.index(lost.folder) + 1)).close()
    for folder in folders:
        if folder != lost.folder:
            workers.stop(folder, at_once=True)
    hear(workers, have_ended(*(folder for folder in folders if folder != lost.folder)))
    trials.write(folders.index(lost.folder) + 1, cfg)
    workers.start(lost.folder)
    heard = hear(workers, have_ended(lost.folder))
    epochs = [event.epoch for event in heard if isinstance(event, Epoch)]
    assert epochs in ([2, 3, 4], [3, 4])
    assert heard[-1] == Ended(lost.folder, 0)
    assert last_event(trials.run(folders.index(lost.folder) + 1))["status"] == "FINISHED"


@pytest.mark.slow
def test_trials_do_not_outlive_the_process_that_speaks_to_ray(
    cluster: Any, workers: RayWorkers, trials: Trials
) -> None:
    folder = trials.write(1, compose([*SMALL, "training.epochs=1000"]))
    workers.start(folder)
    hear(workers, lambda heard: any(isinstance(event, Epoch) for event in heard))
    (run,) = {path for path in runs_on_nodes() if path.name == trials.run(1).name}
    with pytest.raises(BlockingIOError):
        lock_run(run)
    workers._process.kill()  # no test behind this one uses these workers
    with pytest.raises(WorkersLost, match=f"lost Ray on {cluster.address}"):
        hear(workers, lambda _: False)
    lock_run(trials.run(1)).close()
    deadline = time.monotonic() + 20
    while run in set(runs_on_nodes()):
        assert time.monotonic() < deadline, "the trial goes on"
        time.sleep(0.1)


def runs_on_nodes() -> Iterator[Path]:
    """The folders of runs that are being made on the nodes."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            for handle in (process / "fd").iterdir():
                target = handle.readlink()
                if target.name == "journal.jsonl" and f"hcr-ray-{os.getuid()}" in str(target):
                    yield target.parent


@pytest.mark.slow
def test_a_ray_of_its_own_ends_with_the_sweep(trials: Trials, tmp_path: Path) -> None:
    cfg = compose([*SMALL, "training.epochs=1"])
    workers = RayWorkers(config(None, workers=1), tmp_path / "ray", 1, configs=[cfg])
    try:
        workers.start(folder := trials.write(1, cfg))
        assert hear(workers, have_ended(folder))[-1] == Ended(folder, 0)
        assert workers.slots == 1
    finally:
        workers.close()
    with pytest.raises(ProcessLookupError):
        os.killpg(workers._process.pid, 0)


@pytest.mark.slow
def test_a_cluster_without_room_or_with_another_machine_in_it_is_refused(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"launcher.cpus_per_trial: expected at most 1, .* got 8 .training.threads"):
        RayWorkers(config(cluster.address), tmp_path, 8)
    with pytest.raises(ConfigError, match=r"launcher.gpus_per_trial: no node .* 0.5 GPUs; expected at most .* 0$"):
        RayWorkers(config(cluster.address, gpus_per_trial=0.5), tmp_path, 1)
    (tmp_path / "hcr.py").touch()
    for environment, said in (
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, r"has TF_ENABLE_ONEDNN_OPTS 0, and the controller \S+ has (1|none); set"),
        (
            {"PYTHONPATH": str(tmp_path)},
            r"cannot run hcr \(ModuleNotFoundError: No module named 'hcr.*\); install",
        ),
    ):
        node = cluster.add_node(num_cpus=1, env_vars=environment)
        try:
            with pytest.raises(ConfigError, match=rf"launcher.address: node \S+ \(\S+\) {said}"):
                RayWorkers(config(cluster.address), tmp_path, 1, configs=[compose(SMALL)])
        finally:
            cluster.remove_node(node)


@pytest.mark.slow
def test_a_cluster_that_goes_away_ends_the_workers_and_leaves_the_run_as_it_stood(
    trials: Trials, tmp_path: Path
) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    workers = RayWorkers(config(address := cluster.address), tmp_path / "ray", 1, configs=[compose(SMALL)])
    try:
        workers.start(trials.write(1, compose([*SMALL, "training.epochs=1000"])))
        hear(workers, lambda heard: any(isinstance(event, Epoch) for event in heard))
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        with pytest.raises(WorkersLost, match=f"launcher=ray: lost Ray on {address} .no answer for 20 s"):
            hear(workers, lambda _: False)
        lock_run(trials.run(1)).close()
        assert load_checkpoint(trials.run(1) / CHECKPOINT, lambda *_: pytest.fail("damaged")) is not None
    finally:
        workers.close()


def test_a_ray_that_is_not_there_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"launcher.address: expected a running Ray at 127.0.0.1:9"):
        RayWorkers(config("127.0.0.1:9"), tmp_path, 1)
    with pytest.raises(ConfigError, match=r"launcher.address: expected auto, HOST:PORT of a cluster that includes"):
        config("ray://head:10001")
    monkeypatch.setattr(ray, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as caught:
        RayWorkers(config(None), tmp_path, 1)
    assert str(caught.value) == NEEDS_RAY
