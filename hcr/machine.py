"""The machine that a run is trained on. Standard library only."""

import os
import platform
from dataclasses import dataclass
from getpass import getuser
from importlib.metadata import version
from pathlib import Path

from hcr.config.limits import memory_limit
from hcr.config.training import available_cores

PACKAGES = ("tensorflow", "keras")


@dataclass(frozen=True)
class Machine:
    """The properties of a machine that affect a run's results and speed.

    Attributes:
        cpu: the processor's model name.
        cores: cores that this process may use.
        memory_gib: memory that this process may use, in GiB; None if unknown.
        system: operating system and kernel.
        versions: versions of Python and the numeric libraries, by name.
        gpu: the model of the GPU that was used; None: the CPU was.
    """

    cpu: str
    cores: int
    memory_gib: float | None
    system: str
    versions: dict[str, str]
    gpu: str | None = None


def this_machine(gpu: str | None = None) -> Machine:
    """The machine that this process runs on; `gpu` is what TensorFlow says of the GPU that it uses."""
    return Machine(
        cpu=_cpu(),
        cores=available_cores(),
        memory_gib=_memory_gib(),
        system=f"{_system()}, {platform.system()} {platform.release()}",
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        gpu=gpu,
    )


def machine_text(machine: Machine) -> str:
    """A machine in one line: processor, cores, memory, system."""
    memory = "" if machine.memory_gib is None else f", {machine.memory_gib:.0f} GiB"
    return f"{machine.cpu}, {machine.cores} cores{memory}; {machine.system}"


def _cpu() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine() or "unknown processor"


def _memory_gib() -> float | None:
    """The machine's memory, or the container's limit if that is smaller."""
    try:
        size_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    return min(size_bytes, memory_limit() or size_bytes) / 2**30


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # not Linux, or one without a name
        return platform.system()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def user_name() -> str:
    """The login name, or the user id if there is no name, as in some containers."""
    try:
        return getuser()
    except (KeyError, OSError):
        return str(os.getuid())
