"""hcr uses the cores and the memory that it is granted, not those of the machine."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hcr.config.limits import cpu_limit, memory_left, memory_limit

GIB = 2**30


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


CONTAINER = {
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/cpu.max": "250000 100000\n",
    "sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
    "sys/fs/cgroup/memory.current": f"{3 * GIB}\n",
    "sys/fs/cgroup/memory.stat": f"anon {GIB}\ninactive_file {GIB}\nactive_file 4096\n",
}
OLDER_CONTAINER = {  # its path is the host's, which is not to be seen
    "proc/self/cgroup": "12:memory:/docker/f00\n3:cpu,cpuacct:/docker/f00\n1:name=systemd:/docker/f00\n0::/\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4 * GIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{3 * GIB}\n",
    "sys/fs/cgroup/memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
}
BELOW_A_LIMIT = {  # a service of systemd or a step of Slurm: the limit may be that of a group above
    "proc/self/cgroup": "0::/system.slice/job.service/step\n",
    "sys/fs/cgroup/system.slice/job.service/step/cpu.max": "max 100000\n",
    "sys/fs/cgroup/system.slice/job.service/step/memory.max": "max\n",
    "sys/fs/cgroup/system.slice/job.service/step/memory.current": "0\n",
    "sys/fs/cgroup/system.slice/job.service/cpu.max": "300000 100000\n",
    "sys/fs/cgroup/system.slice/job.service/memory.max": f"{4 * GIB}\n",
    "sys/fs/cgroup/system.slice/job.service/memory.current": f"{2 * GIB}\n",
    "sys/fs/cgroup/system.slice/cpu.max": "800000 100000\n",
    "sys/fs/cgroup/system.slice/memory.max": f"{64 * GIB}\n",
    "sys/fs/cgroup/system.slice/memory.current": f"{60 * GIB}\n",
}


@pytest.mark.parametrize("files", [CONTAINER, OLDER_CONTAINER, BELOW_A_LIMIT], ids=["container", "older", "below"])
def test_the_tightest_limit_of_the_groups_counts(files: Mapping[str, str], tmp_path: Path) -> None:
    root = tree(tmp_path, files)
    assert cpu_limit(root) == 3  # a part of a core is a thread more, which uses it
    assert memory_limit(root) == 4 * GIB
    assert memory_left(root) == 2 * GIB


NO_LIMIT = {
    "new": {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"},
    "older": {
        "proc/self/cgroup": "4:memory:/\n1:cpu:/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    },
    "not Linux": {},
    "of others": {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/b/cpu.max": "100000 100000\n"},
}


@pytest.mark.parametrize("name", NO_LIMIT)
def test_where_there_is_no_limit_there_is_none(name: str, tmp_path: Path) -> None:
    root = tree(tmp_path, NO_LIMIT[name])
    assert cpu_limit(root) is memory_limit(root) is memory_left(root) is None


def test_less_than_a_core_is_one_thread_and_more_than_the_limit_leaves_nothing(tmp_path: Path) -> None:
    used = {"sys/fs/cgroup/memory.current": f"{6 * GIB}\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}
    root = tree(tmp_path, CONTAINER | used)
    assert cpu_limit(root) == 1
    assert memory_left(root) == 0


@pytest.fixture
def groups() -> Iterator[list[Path]]:
    """Groups of this test's own, with the time of one core and 1 GiB."""
    limits = {
        "cpu": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"},
        "memory": {"memory.limit_in_bytes": f"{GIB}"},
    }
    made = []
    try:
        for controller, values in limits.items():
            group = Path("/sys/fs/cgroup") / controller / f"hcr-test-limits-{os.getpid()}"
            group.mkdir()
            made.append(group)
            for name, value in values.items():
                (group / name).write_text(value)
    except OSError as error:
        for group in made:
            group.rmdir()
        pytest.skip(f"control groups cannot be made here: {error}")
    yield made
    for group in made:
        group.rmdir()


def test_a_process_within_limits_uses_what_they_grant(groups: list[Path]) -> None:
    code = f"""
import os
for group in {[str(group) for group in groups]}:
    with open(group + "/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))
from hcr.config.training import available_cores
from hcr.machine import this_machine
from hcr.sweep.resources import free_memory
print(available_cores(), this_machine().memory_gib, free_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cores, memory_gib, free = done.stdout.split()
    assert cores == "1"
    assert float(memory_gib) == 1.0
    assert 0 < int(free) < GIB
