"""Trials as jobs of a Slurm cluster, submitted by submitit; controller and nodes share a disk.

A job's progress is read from its run's journal, and its answers are files in its trial's folder, so that jobs outlive
their controller: the next one finds them by the ids that are kept there.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcr import stopping
from hcr.config import ConfigError, HcrError
from hcr.config.errors import one_line
from hcr.config.launcher import LauncherConfig, SlurmConfig
from hcr.gate import RunConfig
from hcr.sweep.trial import OUTPUT, read_task, run_trial
from hcr.sweep.workers import LOST, Began, Ended, Epoch, Event, WorkersLost
from hcr.tracking.events import JOURNAL, read_events

if TYPE_CHECKING:
    import submitit

JOB, ANSWER, LOGS = "slurm.json", "answer.json", "slurm"
POLL_S = 2.0  # between two questions to Slurm
SILENT_S = 300.0  # that Slurm may not answer, as when its controller is restarted
SETTLES_S = 10.0  # for what a job wrote to be seen here, on a disk over the network
ANSWERED_S = 0.1  # between two looks of a trial whether it has its answer


@dataclass
class _Job:
    """A trial's job.

    Attributes:
        job: submitit's.
        offset: of what was read of its run's journal.
        epoch: the last one that was read there.
        gone: since when Slurm does not know it any more, by `time.monotonic`.
    """

    job: "submitit.Job[int]"
    offset: int = 0
    epoch: int = 0
    has_begun: bool = False
    gone: float | None = None


def connect(launcher: LauncherConfig, folder: Path, configs: Sequence[RunConfig], threads: int) -> "Slurm":
    """The cluster that a launcher's config names.

    Raises:
        ConfigError: there is no Slurm here, or it would refuse such jobs.
    """
    assert isinstance(launcher, SlurmConfig)
    try:
        import submitit
    except ImportError:
        raise ConfigError("launcher=slurm: needs submitit, which is not installed; pip install 'hcr[slurm]'") from None
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise ConfigError(f"launcher=slurm: expected Slurm's commands on this machine, and there is no {missing[0]}")
    cpus = launcher.cpus or threads
    asked: dict[str, Any] = {"cpus_per_task": cpus, "timeout_min": max(1, round(launcher.time_s / 60))}
    flags = [f"--cpus-per-task={cpus}", f"--time={asked['timeout_min']}"]
    if launcher.partition is not None:
        asked["slurm_partition"] = launcher.partition
        flags.append(f"--partition={launcher.partition}")
    if launcher.mem_gb is not None:
        asked["mem_gb"] = launcher.mem_gb
        flags.append(f"--mem={round(launcher.mem_gb * 1024)}M")
    if launcher.gpus_per_trial:
        asked["gpus_per_node"] = launcher.gpus_per_trial
        flags.append(f"--gpus-per-node={launcher.gpus_per_trial}")
    if launcher.setup:
        asked["slurm_setup"] = list(launcher.setup)
    tried = _slurm("sbatch", "--test-only", *flags, "--wrap=true")
    if tried.returncode:
        raise ConfigError(f"launcher: Slurm refuses such jobs ({_words(tried.stderr)})")
    executor = submitit.AutoExecutor(folder=folder / LOGS / "%j", cluster="slurm")
    executor.update_parameters(name="hcr", **asked)
    return Slurm(executor, launcher.workers or 8)


class Slurm:
    """Jobs of a cluster, `slots` queued or running at a time.

    Args:
        executor: submits them.
        slots: see `Workers`.
    """

    def __init__(self, executor: "submitit.AutoExecutor", slots: int) -> None:
        self.slots = slots
        self._executor = executor
        self._jobs: dict[Path, _Job] = {}
        self._queue: list[Path] = []
        self._stopped: list[Path] = []
        self._alive: dict[str, str] = {}  # by job, its state as of the last answer
        self._asked = self._answered = time.monotonic()
        self._ask()

    def start(self, folder: Path) -> None:
        """See `Workers`; a job of an earlier controller that is alive is adopted."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = json.loads((folder / JOB).read_text(encoding="utf-8"))
            if known["id"] in self._alive:
                import submitit

                self._jobs[folder] = _Job(submitit.SlurmJob(known["folder"], known["id"]))
                return
            _slurm("scancel", known["id"])  # Slurm may have put it back into the queue a moment ago
        (folder / ANSWER).unlink(missing_ok=True)
        self._queue.append(folder)

    def events(self, timeout_s: float) -> list[Event]:
        """See `Workers`."""
        found: list[Event] = [Ended(folder, stopping.INTERRUPTED) for folder in self._stopped]
        self._stopped.clear()
        self._submit()
        if time.monotonic() - self._asked > POLL_S:
            self._ask()
        for folder, job in list(self._jobs.items()):
            found += self._look(folder, job)
        if not found:
            time.sleep(timeout_s)
        return found

    def answer(self, folder: Path, *, go_on: bool) -> None:
        """See `Workers`."""
        epoch = self._jobs[folder].epoch if folder in self._jobs else 0
        new = folder / (ANSWER + ".new")
        new.write_text(json.dumps({"epoch": epoch, "go_on": go_on}), encoding="utf-8")
        new.replace(folder / ANSWER)

    def stop(self, folder: Path, *, at_once: bool = False) -> None:
        """See `Workers`."""
        if folder in self._queue:
            self._queue.remove(folder)
            self._stopped.append(folder)
        elif folder in self._jobs:
            _slurm("scancel", self._jobs[folder].job.job_id)  # which kills what does not end within Slurm's KillWait

    def close(self) -> None:
        """See `Workers`."""
        for job in self._jobs.values():
            _slurm("scancel", job.job.job_id)
        self._jobs.clear()

    def _submit(self) -> None:
        """Submit what waits as one array."""
        if not self._queue:
            return
        folders, self._queue = self._queue, []
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["PYTHONSAFEPATH"] = "1"  # jobs have it from here: what lies in the current folder is not code
        try:
            with self._executor.batch():
                jobs = [self._executor.submit(run_job, str(folder)) for folder in folders]
        except Exception as error:  # submitit's, of many kinds
            raise WorkersLost(f"launcher=slurm: jobs cannot be submitted ({one_line(error)})") from error
        for folder, job in zip(folders, jobs, strict=True):
            self._jobs[folder] = _Job(job)
            self._alive[job.job_id] = "PENDING"
            known = {"id": job.job_id, "folder": str(job.paths.folder)}
            (folder / JOB).write_text(json.dumps(known), encoding="utf-8")

    def _ask(self) -> None:
        """Ask Slurm which of our jobs there are.

        Raises:
            WorkersLost: it has not answered for too long.
        """
        self._asked = time.monotonic()
        told = _slurm("squeue", "--noheader", "--array", "--format=%i %T", f"--user={os.getuid()}")
        if told.returncode == 0:
            self._answered = self._asked
            self._alive = dict(line.split() for line in told.stdout.splitlines() if line.strip())
        elif self._asked - self._answered > SILENT_S:
            raise WorkersLost(f"launcher=slurm: Slurm does not answer ({_words(told.stderr)})")

    def _look(self, folder: Path, job: _Job) -> Iterator[Event]:
        """The events of a job since the last look."""
        task = read_task(folder)
        state = self._alive.get(job.job.job_id)
        if not job.has_begun and (state == "RUNNING" or (task.run / JOURNAL).exists()):
            job.has_begun = True
            yield Began(folder)
        is_over = job.job.paths.result_pickle.exists() or state is None
        with contextlib.suppress(OSError, HcrError):
            for event, offset in read_events(task.run, job.offset):
                job.offset = offset
                if event["event"] == "metrics" and "train/loss" in event["values"]:
                    job.epoch = int(event["step"])
                    yield Epoch(folder, job.epoch, float(event["values"][task.monitor]))
                    if task.waits:  # each of them has its answer before the next is looked at
                        break
        if not is_over:
            job.gone = None
            return
        job.gone = job.gone or time.monotonic()
        code = _result(job.job)
        if code is not None or time.monotonic() - job.gone > SETTLES_S:
            del self._jobs[folder]
            yield Ended(folder, LOST if code is None else code)


def run_job(folder: str) -> int:
    """The job of the trial in `folder`; its exit code."""
    from hcr.environment import settle_environment

    settle_environment()
    trial = Path(folder)
    stopping.handle(signal.SIGTERM, signal.SIGUSR2)  # the latter comes before Slurm's time is up
    waits = read_task(trial).waits

    def tell(epoch: int, value: float) -> bool:
        while waits:
            stopping.check()
            with contextlib.suppress(OSError, ValueError):
                answer = json.loads((trial / ANSWER).read_text(encoding="utf-8"))
                if answer["epoch"] == epoch:
                    return bool(answer["go_on"])
            time.sleep(ANSWERED_S)
        return True

    output = os.open(trial / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    return run_trial(trial, tell)


def _result(job: "submitit.Job[int]") -> int | None:
    """The return value of `run_job`; None where the job was killed, or the file is not here yet."""
    if not job.paths.result_pickle.exists():
        return None
    try:
        return int(job.result())
    except Exception:  # submitit's, for a job that raised
        return 1


def _slurm(*words: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace", timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", f"{words[0]} did not answer within 60 s")


def _words(told: str) -> str:
    """Slurm's own words, in a line, without the names of its programs in front of them."""
    lines = [line.partition("error:")[2].strip() or line.strip() for line in told.splitlines() if line.strip()]
    return "; ".join(lines) or "it does not say why"
