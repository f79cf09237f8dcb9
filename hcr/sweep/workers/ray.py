"""Trials on the nodes of a Ray cluster, without a shared disk."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hcr import stopping
from hcr.config.errors import ConfigError, HcrError, one_line
from hcr.config.launcher import RayConfig
from hcr.gate.fingerprint import extension_sources
from hcr.gate.run_config import RunConfig, to_dict
from hcr.sweep.trial import read_config, read_task
from hcr.sweep.workers import Event, WorkersLost
from hcr.sweep.workers.alike import facts
from hcr.tracking.lock import this_host

PORT_S = 5.0  # for the cluster's port to accept a connection
CONNECT_S = 120.0  # for Ray to start and its nodes to be checked
CLOSE_S = 15.0  # for Ray to shut down
NEEDS_RAY = "launcher=ray: needs Ray, which is not installed; pip install 'hcr[ray]'"
SAME_PRIORITY = {"RAY_worker_niceness": "0"}  # for a Ray that is started here: by default its workers run at nice 15
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_COLOR_PREFIX": "0"}


def connect(launcher: RayConfig, folder: Path, configs: Sequence[RunConfig], threads: int) -> "RayWorkers":
    """Connect to the cluster of `launcher`; see `workers_of`."""
    return RayWorkers(launcher, folder, threads, configs=configs)


class RayWorkers:
    """Workers on a Ray cluster; see `Workers`. Ray itself runs in a separate process (see `ray_driver`).

    Args:
        cfg: the cluster's address, and the resources of each trial.
        folder: for the log of that process.
        threads: of a trial; also its CPUs unless `cfg` sets them.
        configs: of runs; every node must reproduce their results.

    Raises:
        ConfigError: Ray is not installed or does not answer, no node has room for a trial, or a node's code, libraries
            or CPU differ.
    """

    def __init__(self, cfg: RayConfig, folder: Path, threads: int, *, configs: Sequence[RunConfig] = ()) -> None:
        if find_spec("ray") is None:
            raise ConfigError(NEEDS_RAY)
        self.slots = 0
        self._shown = cfg.address or "this machine"
        self._log = folder / "ray.txt"
        self._empty_folder = folder / "ray"  # Ray's workers can import files from the folder where it is started
        self._sent: set[str] = set()  # digests of data sets
        if cfg.address not in (None, "auto"):
            _check_port(str(cfg.address))
        kinds = {tuple(sorted(extension_sources(each))): each for each in configs}
        order = {
            "address": cfg.address,
            "cpus": cfg.cpus_per_trial or threads,
            "is_given": cfg.cpus_per_trial is not None,
            "gpus": cfg.gpus_per_trial,
            "workers": cfg.workers,
            "every": cfg.transfer_every,
            "here": facts(this_host(), list(kinds.values())),
            "configs": [to_dict(each) for each in kinds.values()],
            "precisions": sorted({each.training.precision for each in configs if each.training.device == "cpu"}),
        }
        self._process, self._connection = self._start_driver(QUIET if cfg.address else QUIET | SAME_PRIORITY)
        try:
            self._connection.send(order)
            self._await_ready()
        except BaseException as error:
            if not isinstance(error, HcrError):  # such as Ctrl-C while Ray starts
                self._kill()
            self.close()
            raise

    def start(self, folder: Path) -> None:
        """See `Workers`."""
        self._send_dataset(folder)
        self._send("start", folder)

    def events(self, timeout_s: float) -> list[Event]:
        """See `Workers`."""
        found: list[Event] = []
        try:
            if not self._connection.poll(timeout_s):
                return found
            while self._connection.poll():
                what, *rest = self._connection.recv()
                if what == "events":
                    found += rest[0]
                elif what == "slots":
                    self.slots = rest[0]
                elif what == "note":
                    print(f"hcr: {rest[0]}", file=sys.stderr, flush=True)
                else:
                    raise self._lost(rest[0])
        except (EOFError, OSError) as error:
            if found:  # report these first; the next call raises
                return found
            raise self._lost(_last_line(self._log)) from error
        return found

    def answer(self, folder: Path, *, go_on: bool) -> None:
        """See `Workers`."""
        self._send("answer", folder, go_on)

    def stop(self, folder: Path, *, at_once: bool = False) -> None:
        """See `Workers`."""
        self._send("stop", folder, "now" if at_once else "soon")

    def close(self) -> None:
        """See `Workers`."""
        with stopping.deferred():
            self._connection.close()
            try:
                self._process.wait(CLOSE_S)
            except subprocess.TimeoutExpired:
                self._kill()

    def _start_driver(self, settings: Mapping[str, str]) -> tuple["subprocess.Popen[bytes]", Connection]:
        self._empty_folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        with ours, theirs, self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hcr.sweep.workers.ray_driver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **settings},
                cwd=self._empty_folder,
                start_new_session=True,  # only the controller receives Ctrl-C
            )
            return process, Connection(os.dup(ours.fileno()))

    def _await_ready(self) -> None:
        deadline = time.monotonic() + CONNECT_S
        try:
            while not self._connection.poll(0.2):  # short waits, so that signals are handled
                if time.monotonic() > deadline:
                    self._kill()
                    raise ConfigError(f"launcher.address: Ray on {self._shown} did not answer within {CONNECT_S:.0f} s")
            what, *rest = self._connection.recv()
        except (EOFError, OSError) as error:
            raise ConfigError(f"launcher.address: Ray on {self._shown} failed ({_last_line(self._log)})") from error
        if what == "refused":
            raise ConfigError(rest[0])

    def _send_dataset(self, folder: Path) -> None:
        """Send the data set of a trial to the nodes once, unless it is bundled with hcr."""
        digest = read_task(folder).dataset_digest
        if digest is None or digest in self._sent:
            return
        from hcr.data.loading import load_dataset

        self._sent.add(digest)
        with contextlib.suppress(HcrError):  # the trial reports the error
            cfg = read_config(folder).dataset
            if not cfg.is_bundled:
                self._send("dataset", digest, load_dataset(cfg))

    def _send(self, *message: Any) -> None:
        with contextlib.suppress(OSError):  # `events` reports that the driver is gone
            self._connection.send(message)

    def _lost(self, why: str) -> WorkersLost:
        return WorkersLost(f"launcher=ray: lost Ray on {self._shown} ({why})")

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _check_port(address: str) -> None:
    """Refuse an address where nothing listens, which Ray would take long to notice."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), PORT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"launcher.address: expected a running Ray at {address} ({one_line(error)})") from error


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "no output"
