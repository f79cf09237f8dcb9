"""Trials as jobs of a real Slurm of one node, which Debian's packages bring: it runs for these tests alone."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Hcr, Process

from hcr.tracking.events import last_event, read_events

pytestmark = pytest.mark.slow

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/d.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=10
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
SMALL = ("training=smoke", "model.filters=4", "model.dense_units=[]")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which a Slurm of one node with two CPUs answers."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"a Slurm can be started by root where there are slurm-wlm and munge (missing: {missing})")
    folder = Path("/tmp") / f"hcr-slurm-{os.getpid()}"  # a socket's path has to be short
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    host = subprocess.run(["hostname", "-s"], capture_output=True, text=True, check=True).stdout.strip()
    ports = (20000 + os.getpid() % 10000, 30000 + os.getpid() % 10000)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, folder=folder, ports=ports))
    key = folder / "munge" / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--pid-file={folder}/munge/pid", f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed"]
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    started: list[subprocess.Popen[bytes]] = []
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    try:
        for command in (munge, ["slurmctld", "-D", "-f", str(conf)], ["slurmd", "-D", "-f", str(conf)]):
            started.append(subprocess.Popen(command, **quiet))  # type: ignore[call-overload]
            time.sleep(0.5)
        deadline = time.monotonic() + 60
        while subprocess.run(["srun", "-n1", "true"], check=False, **quiet).returncode:  # type: ignore[call-overload]
            assert time.monotonic() < deadline, (folder / "ctld.log").read_text()
            time.sleep(1)
        yield {"SLURM_CONF": str(conf)}
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def trained(folder: Path) -> dict[str, list[int]]:
    """The epochs in the journal of each run under a sweep, by key."""
    found = {}
    for path in folder.glob("output/runs/*/journal.jsonl"):
        events = [event for event, _ in read_events(path.parent)]
        if events and events[0]["parent"] is not None:
            found[path.parent.name] = [event["step"] for event in events if "train/loss" in event.get("values", {})]
    return found


def process_of(folder: Path, job: str) -> int:
    """The process of a job's function: the one that submitit starts, not Slurm's own around it."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            environment = (path / "environ").read_bytes()
        except OSError:
            continue
        number = f"SLURM_ARRAY_TASK_ID={job.partition('_')[2]}".encode()
        is_submitit = b"submitit.core._submit" in words and b"python" in words[0]
        if is_submitit and str(folder).encode() in b" ".join(words) and number in environment:
            return int(path.name)
    raise AssertionError(f"no process of job {job}")


def wait_until_trained(folder: Path, runs: int, epochs: int) -> None:
    deadline = time.monotonic() + 200
    while sum(len(steps) >= epochs for steps in trained(folder).values()) < runs:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_jobs_outlive_their_controller_and_a_killed_one_resumes(
    slurm: dict[str, str], start_hcr: Callable[..., Process], tmp_path: Path
) -> None:
    command = ("train", "-m", "launcher=slurm", "launcher.workers=2", "seed=0,1", "training.threads=1")
    command += ("training.epochs=60", "training.patience=null")
    controller = start_hcr(*command, env={**os.environ, **slurm})
    wait_until_trained(tmp_path, 2, 2)
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    before = {key: len(steps) for key, steps in trained(tmp_path).items()}
    wait_until_trained(tmp_path, 2, max(before.values()) + 1)  # nobody hears of them
    jobs = [json.loads(path.read_text())["id"] for path in tmp_path.glob("output/sweeps/*/trials/*/slurm.json")]
    processes = [process_of(tmp_path, job) for job in jobs]
    for process in processes:  # however long the next controller takes to begin, they have not ended by then
        os.kill(process, signal.SIGSTOP)
    again = start_hcr(*command, env={**os.environ, **slurm})
    assert again.stdout is not None
    told = ""
    while told.count(" started: ") < 2:
        line = again.stdout.readline()
        assert line, told
        told += line
    os.kill(processes[0], signal.SIGKILL)
    os.kill(processes[1], signal.SIGCONT)
    stdout, stderr = again.communicate(timeout=400)
    assert again.returncode == 0, stderr
    told += stdout
    assert told.startswith("0 reused, 2 resumed, 0 to run\n")
    assert told.count("retrying it") == 1
    assert sorted(trained(tmp_path)) == sorted(before)  # the same runs
    assert all(steps == list(range(1, 61)) for steps in trained(tmp_path).values())
    after = {json.loads(path.read_text())["id"] for path in tmp_path.glob("output/sweeps/*/trials/*/slurm.json")}
    assert len(after & set(jobs)) == 1  # one was adopted, the other submitted anew
    for key in before:
        assert last_event(tmp_path / "output" / "runs" / key)["status"] == "FINISHED"


def test_a_search_prunes_jobs_in_time(slurm: dict[str, str], hcr: Hcr, tmp_path: Path) -> None:
    done = hcr(
        "train", "-m", "launcher=slurm", "launcher.workers=1", "optimizer.learning_rate=1e-7,0.003",
        "training.epochs=9", "training.patience=null", *SMALL[1:],
        "sweep.sampler=random", "sweep.n_trials=4", "sweep.pruner=asha",
        env=slurm,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if " pruned after epoch " in line]
    assert told
    lengths = sorted(map(len, trained(tmp_path).values()))
    assert lengths[-1] == 9
    assert lengths[0] in (1, 3)  # not an epoch more than the rung that it was given up at


def test_what_slurm_refuses_is_refused_before_anything_runs(slurm: dict[str, str], hcr: Hcr, tmp_path: Path) -> None:
    for setting, told in (
        ("launcher.partition=nowhere", "invalid partition specified: nowhere"),
        ("launcher.cpus_per_trial=64", "Requested node configuration is not available"),
    ):
        done = hcr("train", "-m", "launcher=slurm", setting, "seed=0,1", *SMALL, env=slurm)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith("hcr: launcher: Slurm rejects these jobs (")
        assert told in done.stderr
    assert not (tmp_path / "output" / "runs").exists()


def test_a_machine_without_slurm_is_told(hcr: Hcr) -> None:
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "sbatch").exists())
    done = hcr("train", "-m", "launcher=slurm", "seed=0,1", *SMALL, env={"PATH": path or "/none"})
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("hcr: launcher=slurm: expected Slurm's commands on this machine; sbatch is missing")
