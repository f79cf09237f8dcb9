"""What a container, a batch system or systemd grants this process: the limits of its control groups (Linux).

A container on a machine of 64 cores may have the time of two: 64 threads would stop and wait for one another. And runs
side by side that fill the machine's memory would be killed at the container's limit.
"""

import math
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def cpu_limit(root: Path = ROOT) -> int | None:
    """Cores' worth of time that this process may use, rounded up; None: no limit.

    Args:
        root: the folder that holds `proc` and `sys`.
    """
    limits = [_cores(folder) for folder in _groups("cpu", root)]
    return min((math.ceil(cores) for cores in limits if cores is not None), default=None)


def memory_limit(root: Path = ROOT) -> int | None:
    """Memory that this process and those beside it in its groups may use, in bytes; None: no limit.

    Args:
        root: as for `cpu_limit`.
    """
    limits = [_memory(folder) for folder in _groups("memory", root)]
    return min((limit for limit in limits if limit is not None), default=None)


def memory_left(root: Path = ROOT) -> int | None:
    """What of `memory_limit` is not in use, in bytes; None: no limit. Cached files, if inactive, are not in use.

    Args:
        root: as for `cpu_limit`.
    """
    left = []
    for folder in _groups("memory", root):
        limit = _memory(folder)
        if limit is not None:
            left.append(max(0, limit - _used(folder)))
    return min(left, default=None)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process' groups, of either version of control groups, each followed by its parents.

    A container may see its own group as the topmost, or have a path that is not there: it begins at another's root.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif controller in controllers.split(","):
            mounts = [root / "sys/fs/cgroup" / controller]
        else:
            continue
        for mount in mounts:
            group = mount / path.strip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mount))


def _cores(group: Path) -> float | None:
    """The quota of a group, in cores."""
    values = _read(group / "cpu.max").split() or [
        _read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
    ]
    return int(values[0]) / int(values[1]) if all(value.isdigit() for value in values) else None


def _memory(group: Path) -> int | None:
    limit = (_read(group / "memory.max") or _read(group / "memory.limit_in_bytes")).strip()
    # The older version writes the largest number of pages for "no limit".
    return int(limit) if limit.isdigit() and int(limit) < 1 << 62 else None


def _used(group: Path) -> int:
    used = (_read(group / "memory.current") or _read(group / "memory.usage_in_bytes")).strip()
    rows = (line.split() for line in _read(group / "memory.stat").splitlines())
    stat = {row[0]: int(row[1]) for row in rows if len(row) == 2}
    cache = stat.get("total_inactive_file", stat.get("inactive_file", 0))  # the first: with the groups below
    return max(0, int(used or 0) - cache)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
