"""How many runs at a time, and how many threads each: what this machine has, and never more."""

from pathlib import Path

from hcr.config import ConfigError
from hcr.config.launcher import LauncherConfig
from hcr.config.training import available_cores

RUN_BYTES = 1_200_000_000  # of a run beside what it shares with the others: TensorFlow, a model, a data set


def workers_and_threads(
    launcher: LauncherConfig,
    *,
    num_runs: int,
    own_threads: int | None,
    cores: int | None = None,
    free: int | None = None,
) -> tuple[int | None, int]:
    """Runs at a time, None where the launcher decides that; and threads of each.

    Small models train faster one thread each, side by side, than one after another with all threads.

    Args:
        num_runs: more than these are of no use.
        own_threads: what the config says, None where it leaves it to the machine.
        cores: this process may use; None: as the machine says.
        free: bytes of memory; None: as the machine says.

    Raises:
        ConfigError: more than the machine has cores.
    """
    asked = launcher.workers
    if not launcher.is_here:
        return asked, own_threads or launcher.cpus or 1
    cores = cores or available_cores()
    if asked is None:
        fit = max(1, (free_memory() if free is None else free) // RUN_BYTES)
        workers = max(1, min(cores // (own_threads or 1), num_runs, fit))
    else:
        workers = asked
    threads = own_threads or max(1, cores // workers)
    if workers * threads > cores and workers > 1:
        most = max(1, cores // (own_threads or 1))
        each = f" with training.threads={own_threads}" if own_threads else ""
        raise ConfigError(f"launcher.workers: expected at most {most} on {cores} cores{each}, got {workers}")
    return workers, threads


def free_memory() -> int:
    """Bytes that programs could have now; a large number where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):  # not Linux
        return 1 << 60
