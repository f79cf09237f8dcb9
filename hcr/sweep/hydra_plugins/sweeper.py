"""The thin sweeper through which Hydra hands a multirun to hcr."""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class HcrSweeper(Sweeper):
    """Calls what the task function has ready for a sweep: the plan was made, and passed the gate, before Hydra began.

    Args:
        max_batch_size: for launchers that take jobs in batches.
        params: what the gate has read already.
    """

    def __init__(self, max_batch_size: int | None, params: Any) -> None:
        self._max_batch_size = max_batch_size
        self._sweep: Any = None
        self._launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra calls first."""
        self._sweep = getattr(task_function, "sweep", None)
        job = getattr(task_function, "launched", task_function)  # what a worker calls, which can be pickled
        if config.hydra.launcher._target_ != "hydra._internal.core_plugins.basic_launcher.BasicLauncher":
            self._launcher = Plugins.instance().instantiate_launcher(
                hydra_context=hydra_context, task_function=job, config=config
            )

    def sweep(self, arguments: list[str]) -> Any:
        """Run it: with processes of hcr's own, or with the launcher that was chosen."""
        assert self._sweep is not None, "the task function of a multirun has a sweep of its own"
        return self._sweep(self._launcher, self._max_batch_size)
