"""Trials as jobs of a Slurm cluster, submitted by submitit; controller and nodes share a disk.

The controller reads a job's progress from its run's journal, and answers it by files in the trial's folder. The job id
is stored there too, so jobs can outlive their controller, and the next one adopts them.
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
POLL_S = 2.0  # between two calls of squeue
SILENT_S = 300.0  # that Slurm may not answer, as when its controller restarts
SETTLES_S = 10.0  # until a job's files are visible here, on a network disk
ANSWER_POLL_S = 0.1  # between two checks of a trial for its answer


@dataclass
class _Job:
    """A trial's job.

    Attributes:
        job: submitit's.
        offset: in its run's journal, up to which it has been read.
        epoch: the last one read there.
        gone: when Slurm stopped listing it, by `time.monotonic`.
    """

    job: "submitit.Job[int]"
    offset: int = 0
    epoch: int = 0
    has_begun: bool = False
    gone: float | None = None


def connect(launcher: LauncherConfig, folder: Path, configs: Sequence[RunConfig], threads: int) -> "Slurm":
    """Connect to the Slurm cluster of this machine; see `workers_of`.

    Raises:
        ConfigError: submitit or Slurm's commands are missing, or Slurm rejects the jobs.
    """
    assert isinstance(launcher, SlurmConfig)
    try:
        import submitit
    except ImportError:
        raise ConfigError("launcher=slurm: needs submitit, which is not installed; pip install 'hcr[slurm]'") from None
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise ConfigError(f"launcher=slurm: expected Slurm's commands on this machine; {missing[0]} is missing")
    cpus = launcher.cpus or threads
    parameters: dict[str, Any] = {"cpus_per_task": cpus, "timeout_min": max(1, round(launcher.time_s / 60))}
    flags = [f"--cpus-per-task={cpus}", f"--time={parameters['timeout_min']}"]
    if launcher.partition is not None:
        parameters["slurm_partition"] = launcher.partition
        flags.append(f"--partition={launcher.partition}")
    if launcher.mem_gb is not None:
        parameters["mem_gb"] = launcher.mem_gb
        flags.append(f"--mem={round(launcher.mem_gb * 1024)}M")
    if launcher.gpus_per_trial:
        parameters["gpus_per_node"] = launcher.gpus_per_trial
        flags.append(f"--gpus-per-node={launcher.gpus_per_trial}")
    if launcher.setup:
        parameters["slurm_setup"] = list(launcher.setup)
    dry_run = _slurm("sbatch", "--test-only", *flags, "--wrap=true")
    if dry_run.returncode:
        raise ConfigError(f"launcher: Slurm rejects these jobs ({_error_text(dry_run.stderr)})")
    executor = submitit.AutoExecutor(folder=folder / LOGS / "%j", cluster="slurm")
    executor.update_parameters(name="hcr", **parameters)
    return Slurm(executor, launcher.workers or 8)


class Slurm:
    """Slurm jobs, at most `slots` queued or running at a time; see `Workers`.

    Args:
        executor: submits the jobs.
        slots: see `Workers`.
    """

    def __init__(self, executor: "submitit.AutoExecutor", slots: int) -> None:
        self.slots = slots
        self._executor = executor
        self._jobs: dict[Path, _Job] = {}
        self._queue: list[Path] = []
        self._stopped: list[Path] = []
        self._alive: dict[str, str] = {}  # state by job id, from the last squeue
        self._asked = self._answered = time.monotonic()
        self._poll_slurm()

    def start(self, folder: Path) -> None:
        """See `Workers`; adopts a live job of an earlier controller."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = json.loads((folder / JOB).read_text(encoding="utf-8"))
            if known["id"] in self._alive:
                import submitit

                self._jobs[folder] = _Job(submitit.SlurmJob(known["folder"], known["id"]))
                return
            _slurm("scancel", known["id"])  # Slurm may have requeued it since
        (folder / ANSWER).unlink(missing_ok=True)
        self._queue.append(folder)

    def events(self, timeout_s: float) -> list[Event]:
        """See `Workers`."""
        found: list[Event] = [Ended(folder, stopping.INTERRUPTED) for folder in self._stopped]
        self._stopped.clear()
        self._submit()
        if time.monotonic() - self._asked > POLL_S:
            self._poll_slurm()
        for folder, job in list(self._jobs.items()):
            found += self._poll_job(folder, job)
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
            _slurm("scancel", self._jobs[folder].job.job_id)  # kills it after Slurm's KillWait

    def close(self) -> None:
        """See `Workers`."""
        for job in self._jobs.values():
            _slurm("scancel", job.job.job_id)
        self._jobs.clear()

    def _submit(self) -> None:
        """Submit the waiting trials as one job array."""
        if not self._queue:
            return
        folders, self._queue = self._queue, []
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["PYTHONSAFEPATH"] = "1"  # inherited by jobs: they import no code from the current folder
        try:
            with self._executor.batch():
                jobs = [self._executor.submit(run_job, str(folder)) for folder in folders]
        except Exception as error:  # submitit's, of many kinds
            raise WorkersLost(f"launcher=slurm: submitting jobs failed ({one_line(error)})") from error
        for folder, job in zip(folders, jobs, strict=True):
            self._jobs[folder] = _Job(job)
            self._alive[job.job_id] = "PENDING"
            known = {"id": job.job_id, "folder": str(job.paths.folder)}
            (folder / JOB).write_text(json.dumps(known), encoding="utf-8")

    def _poll_slurm(self) -> None:
        """Query the states of this user's jobs.

        Raises:
            WorkersLost: Slurm has not answered for SILENT_S.
        """
        self._asked = time.monotonic()
        listing = _slurm("squeue", "--noheader", "--array", "--format=%i %T", f"--user={os.getuid()}")
        if listing.returncode == 0:
            self._answered = self._asked
            self._alive = dict(line.split() for line in listing.stdout.splitlines() if line.strip())
        elif self._asked - self._answered > SILENT_S:
            raise WorkersLost(f"launcher=slurm: Slurm does not answer ({_error_text(listing.stderr)})")

    def _poll_job(self, folder: Path, job: _Job) -> Iterator[Event]:
        """The events of a job since the last poll."""
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
                    if task.waits:  # answer this epoch before the next one is read
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
    """Run the trial in `folder` as a Slurm job; returns its exit code."""
    from hcr.environment import settle_environment

    settle_environment()
    trial = Path(folder)
    stopping.handle(signal.SIGTERM, signal.SIGUSR2)  # Slurm sends SIGUSR2 before the time limit
    waits = read_task(trial).waits

    def report(epoch: int, value: float) -> bool:
        while waits:
            stopping.check()
            with contextlib.suppress(OSError, ValueError):
                answer = json.loads((trial / ANSWER).read_text(encoding="utf-8"))
                if answer["epoch"] == epoch:
                    return bool(answer["go_on"])
            time.sleep(ANSWER_POLL_S)
        return True

    output = os.open(trial / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    return run_trial(trial, report)


def _result(job: "submitit.Job[int]") -> int | None:
    """The return value of `run_job`; None if the job was killed or its file is not visible yet."""
    if not job.paths.result_pickle.exists():
        return None
    try:
        return int(job.result())
    except Exception:  # submitit raises if the job did
        return 1


def _slurm(*words: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace", timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", f"{words[0]} did not answer within 60 s")


def _error_text(stderr: str) -> str:
    """Slurm's error messages as one line, without the program names in front."""
    lines = [line.partition("error:")[2].strip() or line.strip() for line in stderr.splitlines() if line.strip()]
    return "; ".join(lines) or "no reason given"
