"""What machine this is. Standard library only."""

import os
import platform
from dataclasses import dataclass
from getpass import getuser
from importlib.metadata import version
from pathlib import Path

from hcr.config.training import available_cores

PACKAGES = ("tensorflow", "keras")


@dataclass(frozen=True)
class Machine:
    """A machine, as far as it matters to a run's numbers and speed.

    Attributes:
        cpu: the processor's own name for itself.
        cores: cores that this process may use.
        memory_gib: memory that this process may use, in GiB; None where the system does not say.
        system: operating system and kernel.
        versions: name to version of python and the libraries that compute.
    """

    cpu: str
    cores: int
    memory_gib: float | None
    system: str
    versions: dict[str, str]


def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(
        cpu=_cpu(),
        cores=available_cores(),
        memory_gib=_memory_gib(),
        system=f"{_system()}, {platform.system()} {platform.release()}",
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    )


def _cpu() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine() or "unknown processor"


def _memory_gib() -> float | None:
    """The machine's memory, or what the container has of it."""
    try:
        size_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    return (min(size_bytes, int(limit)) if limit.isdigit() else size_bytes) / 2**30


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
    """Who runs this: the login name, or the number of a user that has none, as in some containers."""
    try:
        return getuser()
    except (KeyError, OSError):
        return str(os.getuid())
