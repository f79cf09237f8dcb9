"""Number of workers, and of threads for each, within the cores and memory of this machine."""

from pathlib import Path

from hcr.config import ConfigError
from hcr.config.launcher import LauncherConfig
from hcr.config.limits import memory_left
from hcr.config.training import available_cores

RUN_BYTES = 1_200_000_000  # memory of one run, beyond what it shares with the others: TensorFlow, model, data set


def workers_and_threads(
    launcher: LauncherConfig,
    *,
    num_runs: int,
    own_threads: int | None,
    num_gpus: int = 0,
    cores: int | None = None,
    free: int | None = None,
) -> tuple[int | None, int]:
    """Runs at a time (None: the launcher decides), and threads of each.

    Small models train faster side by side with one thread each than one after another with all threads. On GPUs as many
    runs train as there are GPUs, one on each.

    Args:
        num_runs: upper bound for the workers.
        own_threads: `training.threads`; None: chosen here.
        num_gpus: of this machine, if runs train on GPUs; 0: on the CPU.
        cores: cores that this process may use; None: detected.
        free: free memory in bytes; None: detected.

    Raises:
        ConfigError: workers exceed the GPUs, or workers times threads the cores.
    """
    asked = launcher.workers
    if not launcher.is_here:
        return asked, own_threads or launcher.cpus or 1
    cores = cores or available_cores()
    if num_gpus and (asked or 0) > num_gpus:
        raise ConfigError(f"launcher.workers: expected at most {num_gpus}, a GPU for each, got {asked}")
    if asked is None:
        fit = max(1, (free_memory() if free is None else free) // RUN_BYTES)
        workers = max(1, min(cores // (own_threads or 1), num_runs, fit, num_gpus or num_runs))
    else:
        workers = asked
    threads = own_threads or max(1, cores // workers)
    if workers * threads > cores and workers > 1:
        most = max(1, cores // (own_threads or 1))
        each = f" with training.threads={own_threads}" if own_threads else ""
        raise ConfigError(f"launcher.workers: expected at most {most} on {cores} cores{each}, got {workers}")
    return workers, threads


def free_memory() -> int:
    """Available memory in bytes, of the machine or within the limit of a container; a huge number if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):  # not Linux
        return 1 << 60
    left = memory_left()
    return free if left is None else min(free, left)
